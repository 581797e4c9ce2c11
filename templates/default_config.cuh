// Stands in for the generated header when a template is read by an editor or compiled by nvcc. The
// renderer puts the real one here, with those of these names that the kernel's kind has.
// The tiling is the smallest that every template here accepts, with the same shared memory.
#pragma once

#include "device/base.cuh"

namespace kiln::config {

KILN_DEVICE consteval device::DType dtype() { return device::DType::bf16; }
inline constexpr bool kAlibi = false;
inline constexpr bool kAlignTopLeft = false;
inline constexpr bool kAllowTf32 = false;
inline constexpr bool kBiasAdditive = false;
inline constexpr bool kBiasMask = false;
inline constexpr int kCapability = 90;
inline constexpr bool kCausal = true;
inline constexpr int kCtasPerSm = 1;
inline constexpr bool kFixedWindow = false;
inline constexpr int kHeadDimQk = 128;
inline constexpr int kHeadDimV = 128;
inline constexpr bool kOutputF32 = false;
inline constexpr bool kPaged = false;
inline constexpr bool kRagged = false;
inline constexpr bool kSinks = false;
inline constexpr bool kSlidingWindow = false;
inline constexpr int kSmemBytes = 69632;
inline constexpr bool kSoftcap = false;
inline constexpr int kStages = 2;
inline constexpr int kTileM = 16;
inline constexpr int kTileN = 64;
inline constexpr int kWarps = 1;
inline constexpr int kWindowLeft = -1;
inline constexpr int kWindowRight = -1;
KILN_DEVICE consteval device::DType out_dtype() { return device::DType::bf16; }

}  // namespace kiln::config
