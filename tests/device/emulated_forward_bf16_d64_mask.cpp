#define EMULATED forward_bf16_d64_mask
#include "device/emulator/kernel_begin.hpp"

namespace kiln::config {

inline constexpr bool kAlibi = false;
inline constexpr bool kAlignTopLeft = false;
inline constexpr bool kAllowTf32 = false;
inline constexpr bool kBiasAdditive = false;
inline constexpr bool kBiasMask = true;
inline constexpr int kCapability = 80;
inline constexpr bool kCausal = false;
inline constexpr int kCtasPerSm = 1;
inline constexpr device::DType kDType = device::DType::bf16;
inline constexpr bool kFixedWindow = true;
inline constexpr int kHeadDimQk = 64;
inline constexpr int kHeadDimV = 64;
inline constexpr bool kOutputF32 = false;
inline constexpr bool kPaged = true;
inline constexpr bool kRagged = false;
inline constexpr bool kSinks = true;
inline constexpr bool kSlidingWindow = false;
inline constexpr int kSmemBytes = 17536;
inline constexpr bool kSoftcap = false;
inline constexpr int kStages = 1;
inline constexpr int kTileM = 64;
inline constexpr int kTileN = 32;
inline constexpr int kWarps = 4;
inline constexpr int kWindowLeft = 20;
inline constexpr int kWindowRight = -1;

}  // namespace kiln::config

#include "device/emulator/kernel_forward.hpp"
