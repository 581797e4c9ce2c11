#define EMULATED decode_sm75_d64_mask
#include "device/emulator/kernel_begin.hpp"

namespace kiln::config {

inline constexpr bool kBiasMask = true;
inline constexpr int kCapability = 75;
inline constexpr bool kCausal = false;
KILN_DEVICE consteval device::DType dtype() { return device::DType::f16; }
inline constexpr int kHeadDimQk = 64;
inline constexpr int kHeadDimV = 64;
inline constexpr int kSmemBytes = 21120;
inline constexpr int kTileM = 16;
inline constexpr int kTileN = 32;
inline constexpr int kWarps = 2;

}  // namespace kiln::config

#include "device/emulator/kernel_decode.hpp"
