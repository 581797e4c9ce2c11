// The element type of Q, K and V: how it is stored and what an mma does with it.
#pragma once

#include "default_config.cuh"
#include "device/base.cuh"
#include "device/ptx.cuh"
#include "device/swizzle.cuh"

namespace kiln::device {

/// What the 16-bit types have in common.
template <DType kType>
struct SixteenBits {
  using Storage = u16;
  static constexpr DType kDType = kType;
  static constexpr i32 kBytes = 2;
  static constexpr u32 kSignBits = 0x80008000u;  // of the elements in 32 bits
};

template <DType kType>
struct ElementOf;

template <>
struct ElementOf<DType::f16> : SixteenBits<DType::f16> {
  /// Two floats, rounded; `first` has the lower address.
  KILN_DEVICE static u32 pack(float first, float second) { return ptx::cvt_rn_f16x2_f32(second, first); }
  KILN_DEVICE static float to_float(u16 bits) { return ptx::cvt_f32_f16(bits); }

  /// d[16×8] += a[16×16] · b[16×8]
  KILN_DEVICE static void mma(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) { ptx::mma_m16n8k16_f16(d, a, b0, b1); }
};

template <>
struct ElementOf<DType::bf16> : SixteenBits<DType::bf16> {
  KILN_DEVICE static u32 pack(float first, float second) { return ptx::cvt_rn_bf16x2_f32(second, first); }
  KILN_DEVICE static float to_float(u16 bits) { return __uint_as_float(static_cast<u32>(bits) << 16); }
  KILN_DEVICE static void mma(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    ptx::mma_m16n8k16_bf16(d, a, b0, b1);
  }
};

/// That of the kernel, and the lengths of its rows in shared memory.
using Element = ElementOf<config::kDType>;
inline constexpr i32 kPaddedDimQk = padded_dim(config::kHeadDimQk, config::kDType);
inline constexpr i32 kPaddedDimV = padded_dim(config::kHeadDimV, config::kDType);
inline constexpr i32 kChunksQk = row_chunks(config::kHeadDimQk, config::kDType);
inline constexpr i32 kChunksV = row_chunks(config::kHeadDimV, config::kDType);

}  // namespace kiln::device
