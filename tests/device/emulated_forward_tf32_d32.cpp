#define EMULATED forward_tf32_d32
#include "device/emulator/kernel_begin.hpp"

namespace kiln::config {

inline constexpr bool kAllowTf32 = true;
inline constexpr int kCapability = 80;
inline constexpr bool kCausal = false;
KILN_DEVICE consteval device::DType dtype() { return device::DType::f32; }
inline constexpr int kHeadDimQk = 32;
inline constexpr int kHeadDimV = 32;
inline constexpr int kSmemBytes = 20608;
inline constexpr int kTileM = 32;
inline constexpr int kTileN = 32;
inline constexpr int kWarps = 2;

}  // namespace kiln::config

#include "device/emulator/kernel_forward.hpp"
