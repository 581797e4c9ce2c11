#define EMULATED merge_f16_f32_d256
#include "device/emulator/kernel_begin.hpp"

namespace kiln::config {

KILN_DEVICE consteval device::DType dtype() { return device::DType::f16; }
inline constexpr int kHeadDimV = 256;
KILN_DEVICE consteval device::DType out_dtype() { return device::DType::f32; }
inline constexpr int kTileN = 2;
inline constexpr int kWarps = 4;

}  // namespace kiln::config

#include "device/emulator/kernel_merge.hpp"
