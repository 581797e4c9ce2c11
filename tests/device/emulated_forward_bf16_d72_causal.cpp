#define EMULATED forward_bf16_d72_causal
#include "device/emulator/kernel_begin.hpp"

namespace kiln::config {

inline constexpr int kCapability = 80;
inline constexpr int kHeadDimQk = 72;
inline constexpr int kHeadDimV = 72;
inline constexpr int kSmemBytes = 30848;
inline constexpr int kTileM = 64;
inline constexpr int kTileN = 32;
inline constexpr int kWarps = 4;

}  // namespace kiln::config

#include "device/emulator/kernel_forward.hpp"
