#define EMULATED decode_f16_d40_88
#include "device/emulator/kernel_begin.hpp"

namespace kiln::config {

inline constexpr int kCapability = 80;
inline constexpr bool kCausal = false;
KILN_DEVICE consteval device::DType dtype() { return device::DType::f16; }
inline constexpr int kHeadDimQk = 40;
inline constexpr int kHeadDimV = 88;
inline constexpr int kSmemBytes = 33408;
inline constexpr int kTileN = 32;
inline constexpr int kWarps = 2;

}  // namespace kiln::config

#include "device/emulator/kernel_decode.hpp"
