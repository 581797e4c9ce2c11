#pragma once

#include "plan/device_info.hpp"
#include "plan/kernel_config.hpp"
#include "plan/tuned_table.hpp"

#include <vector>

namespace kiln::plan {

/// Whether GPUs of a capability have the types that a request's kernel works with.
bool has_types(int capability, const KernelRequest& request);

/// The kernel for a request on a device: the tuned table's row if it has one, else what the
/// heuristics say. Throws Error(unsupported) naming the value and the limit.
KernelConfig plan(const KernelRequest& request, const DeviceInfo& device, const TunedTable& tuned);

/// The same with a tiling given, for the tuner and `kiln compile --tile`. Checks that it can exist.
KernelConfig with_tiling(const KernelRequest& request, const DeviceInfo& device, const Tiling& tiling);

/// What the heuristics say, and every tiling worth measuring against it, that one included.
Tiling reasoned_tiling(const KernelRequest& request, const DeviceInfo& device);
std::vector<Tiling> candidate_tilings(const KernelRequest& request, const DeviceInfo& device);

/// How long a kernel takes to compile, in no unit: to begin with what takes longest. Follows the compile times in
/// bench/results/host.json.
int compile_weight(const KernelRequest& request);

}  // namespace kiln::plan
