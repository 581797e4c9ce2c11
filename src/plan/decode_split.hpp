#pragma once

#include "device/params.cuh"
#include "plan/device_info.hpp"
#include "plan/kernel_config.hpp"

#include <cstdint>

namespace kiln::plan {

/// How the keys of a decode call are shared out over blocks.
struct DecodeSplit {
  device::SplitParams params{};
  std::int64_t work = 0;      ///< key tiles of all row tiles together, at most
  std::int64_t counters = 0;  ///< of the workspace; 0 if no key is split
  std::int64_t parts = 0;     ///< partial results of a row tile that the workspace holds
};

/// Follows from the call's shape alone, so that the workspace's size does.
DecodeSplit decode_split(const KernelConfig& config, const DeviceInfo& device, const DecodeArgs& args);

}  // namespace kiln::plan
