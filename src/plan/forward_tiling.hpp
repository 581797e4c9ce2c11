#pragma once

#include "plan/kernel_config.hpp"

#include <vector>

namespace kiln::plan {

/// The forward kernel's tilings for a request, best first: the first that fits a device is the one to use.
std::vector<Tiling> preferred_forward_tilings(const KernelRequest& request, int capability);

/// Every tiling of the forward kernel that is worth measuring.
std::vector<Tiling> all_forward_tilings(const KernelRequest& request);

}  // namespace kiln::plan
