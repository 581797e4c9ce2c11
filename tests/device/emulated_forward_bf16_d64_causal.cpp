#define EMULATED forward_bf16_d64_causal
#include "device/emulator/kernel_begin.hpp"

namespace kiln::config {

inline constexpr bool kAlignTopLeft = false;
inline constexpr bool kAllowTf32 = false;
inline constexpr int kCapability = 80;
inline constexpr bool kCausal = true;
inline constexpr int kCtasPerSm = 1;
inline constexpr device::DType kDType = device::DType::bf16;
inline constexpr int kHeadDimQk = 64;
inline constexpr int kHeadDimV = 64;
inline constexpr bool kOutputF32 = false;
inline constexpr bool kSlidingWindow = false;
inline constexpr int kSmemBytes = 57472;
inline constexpr int kStages = 3;
inline constexpr int kTileM = 64;
inline constexpr int kTileN = 64;
inline constexpr int kWarps = 4;

}  // namespace kiln::config

#include "device/emulator/kernel_forward.hpp"
