#define EMULATED forward_f16_d64_paged
#include "device/emulator/kernel_begin.hpp"

namespace kiln::config {

inline constexpr int kCapability = 80;
inline constexpr bool kCausal = false;
KILN_DEVICE consteval device::DType dtype() { return device::DType::f16; }
inline constexpr int kHeadDimQk = 64;
inline constexpr int kHeadDimV = 64;
inline constexpr bool kPaged = true;
inline constexpr bool kRagged = true;
inline constexpr bool kSlidingWindow = true;
inline constexpr int kSmemBytes = 30336;
inline constexpr int kStages = 3;
inline constexpr int kTileM = 32;
inline constexpr int kTileN = 32;
inline constexpr int kWarps = 2;

}  // namespace kiln::config

#include "device/emulator/kernel_forward.hpp"
