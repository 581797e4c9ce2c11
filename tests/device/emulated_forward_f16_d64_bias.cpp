#define EMULATED forward_f16_d64_bias
#include "device/emulator/kernel_begin.hpp"

namespace kiln::config {

inline constexpr bool kBiasAdditive = true;
inline constexpr int kCapability = 80;
inline constexpr bool kCausal = false;
KILN_DEVICE consteval device::DType dtype() { return device::DType::f16; }
inline constexpr int kHeadDimQk = 64;
inline constexpr int kHeadDimV = 64;
inline constexpr int kSmemBytes = 24704;
inline constexpr int kTileM = 64;
inline constexpr int kTileN = 32;
inline constexpr int kWarps = 4;

}  // namespace kiln::config

#include "device/emulator/kernel_forward.hpp"
