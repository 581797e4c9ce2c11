#define EMULATED forward_f16_d64_full
#include "device/emulator/kernel_begin.hpp"

namespace kiln::config {

inline constexpr int kCapability = 80;
inline constexpr bool kCausal = false;
KILN_DEVICE consteval device::DType dtype() { return device::DType::f16; }
inline constexpr int kHeadDimQk = 64;
inline constexpr int kHeadDimV = 64;
inline constexpr int kSmemBytes = 49280;
inline constexpr int kTileM = 128;
inline constexpr int kWarps = 4;

}  // namespace kiln::config

#include "device/emulator/kernel_forward.hpp"
