// The element type of Q, K and V: what an mma does with it.
#pragma once

#include "default_config.cuh"
#include "device/base.cuh"
#include "device/fragment.cuh"
#include "device/ptx.cuh"
#include "device/storage.cuh"
#include "device/swizzle.cuh"

namespace kiln::device {

/// What the 16-bit types have in common.
template <DType kType>
struct SixteenBits : StorageOf<kType> {
  static constexpr u32 kSignBits = 0x80008000u;  // of the elements in 32 bits

  /// Where a lane reads V.
  template <i32 kRowChunks>
  using Values = BlockAddresses<kRowChunks>;
  KILN_DEVICE static constexpr LdmatrixLane value_lane(u32 lane) { return ldmatrix_rows_first(lane); }
};

template <DType kType>
struct ElementOf;

template <>
struct ElementOf<DType::f16> : SixteenBits<DType::f16> {
  /// d[16×8] += a[16×16] · b[16×8]
  KILN_DEVICE static void mma(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) { ptx::mma_m16n8k16_f16(d, a, b0, b1); }
};

template <>
struct ElementOf<DType::bf16> : SixteenBits<DType::bf16> {
  KILN_DEVICE static void mma(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    ptx::mma_m16n8k16_bf16(d, a, b0, b1);
  }
};

/// As exact as float32 by three products of TF32, whose 11 significant bits are the upper ones of a float: with
/// x = high + low, a·b = low·high + high·low + high·high but for 2⁻²². The mma itself cuts off what `high`
/// doesn't have; low is rounded, so that errors have no sign in common.
template <>
struct ElementOf<DType::f32> : StorageOf<DType::f32> {
  static constexpr u32 kSignBits = 0x80000000u;

  template <i32 kRowChunks>
  using Values = RowPairAddresses<kRowChunks>;
  KILN_DEVICE static constexpr u32 value_lane(u32 lane) { return lane; }

  /// d[16×8] += a[16×8] · b[8×8]. What is derived from an operand is derived once, however many mma's share it.
  KILN_DEVICE static void mma(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    if constexpr (config::kAllowTf32) {
      ptx::mma_m16n8k8_tf32(d, {rounded(a[0]), rounded(a[1]), rounded(a[2]), rounded(a[3])}, rounded(b0), rounded(b1));
    } else {
      ptx::mma_m16n8k8_tf32(d, {low(a[0]), low(a[1]), low(a[2]), low(a[3])}, b0, b1);
      ptx::mma_m16n8k8_tf32(d, a, low(b0), low(b1));
      ptx::mma_m16n8k8_tf32(d, a, b0, b1);
    }
  }

 private:
  static constexpr u32 kCutBits = 0x1fffu;  // of a float, those that TF32 lacks

  /// Half a unit of TF32's last place up, away from 0: what is then cut off has been rounded.
  KILN_DEVICE static u32 rounded(u32 x) { return x + (kCutBits + 1) / 2; }
  KILN_DEVICE static u32 low(u32 x) {
    const float rest = __builtin_bit_cast(float, x) - __builtin_bit_cast(float, x & ~kCutBits);
    return rounded(__builtin_bit_cast(u32, rest));
  }
};

/// That of the kernel, and the lengths of its rows in shared memory.
using Element = ElementOf<config::dtype()>;
inline constexpr i32 kPaddedDimQk = padded_dim(config::kHeadDimQk, config::dtype());
inline constexpr i32 kPaddedDimV = padded_dim(config::kHeadDimV, config::dtype());
inline constexpr i32 kChunksQk = row_chunks(config::kHeadDimQk, config::dtype());
inline constexpr i32 kChunksV = row_chunks(config::kHeadDimV, config::dtype());
inline constexpr bool kFloatOutput = config::kOutputF32 || config::dtype() == DType::f32;

}  // namespace kiln::device
