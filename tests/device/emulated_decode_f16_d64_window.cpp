#define EMULATED decode_f16_d64_window
#include "device/emulator/kernel_begin.hpp"

namespace kiln::config {

inline constexpr int kCapability = 80;
inline constexpr bool kCausal = false;
inline constexpr device::DType kDType = device::DType::f16;
inline constexpr int kHeadDimQk = 64;
inline constexpr int kHeadDimV = 64;
inline constexpr bool kSlidingWindow = true;
inline constexpr int kSmemBytes = 34816;
inline constexpr int kWarps = 2;

}  // namespace kiln::config

#include "device/emulator/kernel_decode.hpp"
