#define EMULATED forward_sm75_d72
#include "device/emulator/kernel_begin.hpp"

namespace kiln::config {

inline constexpr bool kAlibi = false;
inline constexpr bool kAlignTopLeft = false;
inline constexpr bool kAllowTf32 = false;
inline constexpr bool kBiasAdditive = false;
inline constexpr bool kBiasMask = false;
inline constexpr int kCapability = 75;
inline constexpr bool kCausal = false;
inline constexpr int kCtasPerSm = 1;
inline constexpr device::DType kDType = device::DType::f16;
inline constexpr bool kFixedWindow = false;
inline constexpr int kHeadDimQk = 72;
inline constexpr int kHeadDimV = 72;
inline constexpr bool kOutputF32 = false;
inline constexpr bool kPaged = false;
inline constexpr bool kRagged = false;
inline constexpr bool kSinks = false;
inline constexpr bool kSlidingWindow = false;
inline constexpr int kSmemBytes = 30848;
inline constexpr bool kSoftcap = false;
inline constexpr int kStages = 2;
inline constexpr int kTileM = 64;
inline constexpr int kTileN = 32;
inline constexpr int kWarps = 4;
inline constexpr int kWindowLeft = -1;
inline constexpr int kWindowRight = -1;

}  // namespace kiln::config

#include "device/emulator/kernel_forward.hpp"
