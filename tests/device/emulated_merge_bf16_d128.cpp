#define EMULATED merge_bf16_d128
#include "device/emulator/kernel_begin.hpp"

namespace kiln::config {

inline constexpr device::DType kDType = device::DType::bf16;
inline constexpr int kHeadDimV = 128;
inline constexpr device::DType kOutDType = device::DType::bf16;
inline constexpr int kTileN = 4;
inline constexpr int kWarps = 4;

}  // namespace kiln::config

#include "device/emulator/kernel_merge.hpp"
