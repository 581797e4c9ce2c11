#define EMULATED decode_bf16_d64_scores
#include "device/emulator/kernel_begin.hpp"

namespace kiln::config {

inline constexpr bool kAlibi = true;
inline constexpr bool kBiasAdditive = true;
inline constexpr int kCapability = 80;
inline constexpr bool kCausal = false;
inline constexpr int kHeadDimQk = 64;
inline constexpr int kHeadDimV = 64;
inline constexpr int kSmemBytes = 66944;
inline constexpr bool kSoftcap = true;
inline constexpr int kTileM = 64;
inline constexpr int kTileN = 32;
inline constexpr int kWarps = 4;

}  // namespace kiln::config

#include "device/emulator/kernel_decode.hpp"
