#define EMULATED merge_bf16_d128
#include "device/emulator/kernel_begin.hpp"

namespace kiln::config {

KILN_DEVICE consteval device::DType dtype() { return device::DType::bf16; }
inline constexpr int kHeadDimV = 128;
KILN_DEVICE consteval device::DType out_dtype() { return device::DType::bf16; }
inline constexpr int kTileN = 4;
inline constexpr int kWarps = 4;

}  // namespace kiln::config

#include "device/emulator/kernel_merge.hpp"
