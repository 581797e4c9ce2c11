#define EMULATED forward_f16_d256
#include "device/emulator/kernel_begin.hpp"

namespace kiln::config {

inline constexpr int kCapability = 80;
inline constexpr bool kCausal = false;
KILN_DEVICE consteval device::DType dtype() { return device::DType::f16; }
inline constexpr int kHeadDimQk = 256;
inline constexpr int kHeadDimV = 256;
inline constexpr int kSmemBytes = 49280;
inline constexpr int kTileM = 32;
inline constexpr int kTileN = 16;
inline constexpr int kWarps = 2;

}  // namespace kiln::config

#include "device/emulator/kernel_forward.hpp"
