#define EMULATED forward_sm75_d72
#include "device/emulator/kernel_begin.hpp"

namespace kiln::config {

inline constexpr int kCapability = 75;
inline constexpr bool kCausal = false;
KILN_DEVICE consteval device::DType dtype() { return device::DType::f16; }
inline constexpr int kHeadDimQk = 72;
inline constexpr int kHeadDimV = 72;
inline constexpr int kSmemBytes = 30848;
inline constexpr int kTileM = 64;
inline constexpr int kTileN = 32;
inline constexpr int kWarps = 4;

}  // namespace kiln::config

#include "device/emulator/kernel_forward.hpp"
