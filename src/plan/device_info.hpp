#pragma once

#include <kiln/attention.hpp>

#include <span>
#include <string>

namespace kiln::plan {

/// What planning needs to know of a GPU.
struct DeviceInfo {
  std::string name{};  ///< "NVIDIA H200"
  int capability = 0;  ///< compute capability × 10: 90 for 9.0
  int sm_count = 0;
  int smem_per_block = 0;  ///< bytes a block may use after opting in
  int smem_per_sm = 0;

  bool operator==(const DeviceInfo&) const = default;
};

/// What the driver keeps of an SM's shared memory for each block.
int reserved_smem_per_block(int capability);

/// Whether GPUs of a capability multiply matrices of this type: 7.5 has f16 only.
bool has_type(int capability, DType dtype);

/// A typical GPU of a compute capability, for planning where no GPU is at hand. Unknown ones are an
/// Error(unsupported) that lists those known.
DeviceInfo reference_device(int capability);

/// Every capability Kiln ships kernels for, ascending.
std::span<const int> known_capabilities();

}  // namespace kiln::plan
