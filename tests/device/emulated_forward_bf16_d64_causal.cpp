#define EMULATED forward_bf16_d64_causal
#include "device/emulator/kernel_begin.hpp"

namespace kiln::config {

inline constexpr int kCapability = 80;
inline constexpr int kHeadDimQk = 64;
inline constexpr int kHeadDimV = 64;
inline constexpr int kSmemBytes = 57472;
inline constexpr int kStages = 3;
inline constexpr int kTileM = 64;
inline constexpr int kWarps = 4;

}  // namespace kiln::config

#include "device/emulator/kernel_forward.hpp"
