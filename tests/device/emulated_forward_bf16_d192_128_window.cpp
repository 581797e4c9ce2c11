#define EMULATED forward_bf16_d192_128_window
#include "device/emulator/kernel_begin.hpp"

namespace kiln::config {

inline constexpr int kCapability = 80;
inline constexpr bool kCausal = false;
inline constexpr int kHeadDimQk = 192;
inline constexpr bool kSlidingWindow = true;
inline constexpr int kSmemBytes = 53376;
inline constexpr int kTileM = 32;
inline constexpr int kTileN = 32;
inline constexpr int kWarps = 2;

}  // namespace kiln::config

#include "device/emulator/kernel_forward.hpp"
