#define EMULATED forward_f32_d64_causal
#include "device/emulator/kernel_begin.hpp"

namespace kiln::config {

inline constexpr bool kAlibi = false;
inline constexpr bool kAlignTopLeft = false;
inline constexpr bool kAllowTf32 = false;
inline constexpr bool kBiasAdditive = false;
inline constexpr bool kBiasMask = false;
inline constexpr int kCapability = 80;
inline constexpr bool kCausal = true;
inline constexpr int kCtasPerSm = 1;
inline constexpr device::DType kDType = device::DType::f32;
inline constexpr bool kFixedWindow = false;
inline constexpr int kHeadDimQk = 64;
inline constexpr int kHeadDimV = 64;
inline constexpr bool kOutputF32 = false;
inline constexpr bool kPaged = false;
inline constexpr bool kRagged = false;
inline constexpr bool kSinks = false;
inline constexpr bool kSlidingWindow = false;
inline constexpr int kSmemBytes = 49280;
inline constexpr bool kSoftcap = false;
inline constexpr int kStages = 2;
inline constexpr int kTileM = 64;
inline constexpr int kTileN = 32;
inline constexpr int kWarps = 2;
inline constexpr int kWindowLeft = -1;
inline constexpr int kWindowRight = -1;

}  // namespace kiln::config

#include "device/emulator/kernel_forward.hpp"
