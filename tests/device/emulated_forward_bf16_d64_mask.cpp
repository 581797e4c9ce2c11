#define EMULATED forward_bf16_d64_mask
#include "device/emulator/kernel_begin.hpp"

namespace kiln::config {

inline constexpr bool kBiasMask = true;
inline constexpr int kCapability = 80;
inline constexpr bool kCausal = false;
inline constexpr bool kFixedWindow = true;
inline constexpr int kHeadDimQk = 64;
inline constexpr int kHeadDimV = 64;
inline constexpr bool kPaged = true;
inline constexpr bool kSinks = true;
inline constexpr int kSmemBytes = 17536;
inline constexpr int kStages = 1;
inline constexpr int kTileM = 64;
inline constexpr int kTileN = 32;
inline constexpr int kWarps = 4;
inline constexpr int kWindowLeft = 20;

}  // namespace kiln::config

#include "device/emulator/kernel_forward.hpp"
