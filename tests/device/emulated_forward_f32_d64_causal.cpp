#define EMULATED forward_f32_d64_causal
#include "device/emulator/kernel_begin.hpp"

namespace kiln::config {

inline constexpr int kCapability = 80;
KILN_DEVICE consteval device::DType dtype() { return device::DType::f32; }
inline constexpr int kHeadDimQk = 64;
inline constexpr int kHeadDimV = 64;
inline constexpr int kSmemBytes = 49280;
inline constexpr int kTileM = 64;
inline constexpr int kTileN = 32;
inline constexpr int kWarps = 2;

}  // namespace kiln::config

#include "device/emulator/kernel_forward.hpp"
