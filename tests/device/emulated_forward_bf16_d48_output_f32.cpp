#define EMULATED forward_bf16_d48_output_f32
#include "device/emulator/kernel_begin.hpp"

namespace kiln::config {

inline constexpr bool kAlibi = false;
inline constexpr bool kAlignTopLeft = false;
inline constexpr bool kAllowTf32 = false;
inline constexpr bool kBiasAdditive = false;
inline constexpr bool kBiasMask = false;
inline constexpr int kCapability = 80;
inline constexpr bool kCausal = false;
inline constexpr int kCtasPerSm = 1;
inline constexpr device::DType kDType = device::DType::bf16;
inline constexpr bool kFixedWindow = false;
inline constexpr int kHeadDimQk = 48;
inline constexpr int kHeadDimV = 48;
inline constexpr bool kOutputF32 = true;
inline constexpr bool kPaged = false;
inline constexpr bool kRagged = false;
inline constexpr bool kSinks = false;
inline constexpr bool kSlidingWindow = false;
inline constexpr int kSmemBytes = 15488;
inline constexpr bool kSoftcap = false;
inline constexpr int kStages = 2;
inline constexpr int kTileM = 32;
inline constexpr int kTileN = 32;
inline constexpr int kWarps = 1;
inline constexpr int kWindowLeft = -1;
inline constexpr int kWindowRight = -1;

}  // namespace kiln::config

#include "device/emulator/kernel_forward.hpp"
