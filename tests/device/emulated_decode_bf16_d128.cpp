#define EMULATED decode_bf16_d128
#include "device/emulator/kernel_begin.hpp"

namespace kiln::config {

inline constexpr int kCapability = 80;
inline constexpr bool kCausal = false;
inline constexpr int kSmemBytes = 107392;
inline constexpr int kStages = 3;
inline constexpr int kWarps = 4;

}  // namespace kiln::config

#include "device/emulator/kernel_decode.hpp"
