#define EMULATED forward_f16_d96
#include "device/emulator/kernel_begin.hpp"

namespace kiln::config {

inline constexpr int kCapability = 80;
inline constexpr bool kCausal = false;
KILN_DEVICE consteval device::DType dtype() { return device::DType::f16; }
inline constexpr int kHeadDimQk = 96;
inline constexpr int kHeadDimV = 96;
inline constexpr int kSmemBytes = 67712;
inline constexpr int kStages = 3;
inline constexpr int kTileM = 64;
inline constexpr int kTileN = 48;
inline constexpr int kWarps = 2;

}  // namespace kiln::config

#include "device/emulator/kernel_forward.hpp"
