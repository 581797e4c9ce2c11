#define EMULATED merge_f32_f16_d40
#include "device/emulator/kernel_begin.hpp"

namespace kiln::config {

inline constexpr device::DType kDType = device::DType::f32;
inline constexpr int kHeadDimV = 40;
inline constexpr device::DType kOutDType = device::DType::f16;
inline constexpr int kTileN = 4;
inline constexpr int kWarps = 4;

}  // namespace kiln::config

#include "device/emulator/kernel_merge.hpp"
