#define EMULATED forward_bf16_d48_output_f32
#include "device/emulator/kernel_begin.hpp"

namespace kiln::config {

inline constexpr int kCapability = 80;
inline constexpr bool kCausal = false;
inline constexpr int kHeadDimQk = 48;
inline constexpr int kHeadDimV = 48;
inline constexpr bool kOutputF32 = true;
inline constexpr int kSmemBytes = 15488;
inline constexpr int kTileM = 32;
inline constexpr int kTileN = 32;

}  // namespace kiln::config

#include "device/emulator/kernel_forward.hpp"
