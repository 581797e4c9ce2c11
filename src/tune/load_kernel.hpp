#pragma once

#include "cache/entry.hpp"
#include "plan/kernel_config.hpp"
#include "tune/call.hpp"

namespace kiln::tune {

/// Hands a kernel of any tiling to the driver, past the plan that a Runtime follows.
KernelPtr load_kernel(const Gpu& gpu, const KernelRequest& request, const plan::KernelConfig& config,
                      const cache::Entry& entry);

}  // namespace kiln::tune
