// How numbers of a type are stored.
#pragma once

#include "device/base.cuh"
#include "device/ptx.cuh"

namespace kiln::device {

template <DType kType>
struct StorageOf;

template <>
struct StorageOf<DType::f16> {
  using Storage = u16;
  KILN_DEVICE static consteval DType dtype() { return DType::f16; }
  static constexpr i32 kBytes = 2;

  /// Two floats, rounded; `first` has the lower address.
  KILN_DEVICE static u32 pack(float first, float second) { return ptx::cvt_rn_f16x2_f32(second, first); }
  KILN_DEVICE static float to_float(u16 bits) { return ptx::cvt_f32_f16(bits); }
};

template <>
struct StorageOf<DType::bf16> {
  using Storage = u16;
  KILN_DEVICE static consteval DType dtype() { return DType::bf16; }
  static constexpr i32 kBytes = 2;

  KILN_DEVICE static u32 pack(float first, float second) { return ptx::cvt_rn_bf16x2_f32(second, first); }
  KILN_DEVICE static float to_float(u16 bits) { return __uint_as_float(static_cast<u32>(bits) << 16); }
};

template <>
struct StorageOf<DType::f32> {
  using Storage = float;
  KILN_DEVICE static consteval DType dtype() { return DType::f32; }
  static constexpr i32 kBytes = 4;

  KILN_DEVICE static float to_float(float x) { return x; }
};

}  // namespace kiln::device
