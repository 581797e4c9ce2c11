#define EMULATED forward_f16_d64_128_causal_window
#include "device/emulator/kernel_begin.hpp"

namespace kiln::config {

inline constexpr bool kAlignTopLeft = true;
inline constexpr int kCapability = 80;
inline constexpr int kCtasPerSm = 2;
KILN_DEVICE consteval device::DType dtype() { return device::DType::f16; }
inline constexpr int kHeadDimQk = 64;
inline constexpr bool kSlidingWindow = true;
inline constexpr int kSmemBytes = 32896;
inline constexpr int kTileM = 32;
inline constexpr int kTileN = 32;
inline constexpr int kWarps = 2;

}  // namespace kiln::config

#include "device/emulator/kernel_forward.hpp"
