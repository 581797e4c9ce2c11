#define EMULATED merge_f16_f32_d256
#include "device/emulator/kernel_begin.hpp"

namespace kiln::config {

inline constexpr device::DType kDType = device::DType::f16;
inline constexpr int kHeadDimV = 256;
inline constexpr device::DType kOutDType = device::DType::f32;
inline constexpr int kTileN = 2;
inline constexpr int kWarps = 4;

}  // namespace kiln::config

#include "device/emulator/kernel_merge.hpp"
