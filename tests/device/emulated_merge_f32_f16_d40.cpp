#define EMULATED merge_f32_f16_d40
#include "device/emulator/kernel_begin.hpp"

namespace kiln::config {

KILN_DEVICE consteval device::DType dtype() { return device::DType::f32; }
inline constexpr int kHeadDimV = 40;
KILN_DEVICE consteval device::DType out_dtype() { return device::DType::f16; }
inline constexpr int kTileN = 4;
inline constexpr int kWarps = 4;

}  // namespace kiln::config

#include "device/emulator/kernel_merge.hpp"
