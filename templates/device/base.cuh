// What every device header starts from: integer names and small arithmetic. No toolkit header is
// ever included, so NVRTC needs none; the host's compiler reads this file too.
#pragma once

#ifdef __CUDACC__
#define KILN_DEVICE __device__ __forceinline__
#else
#define KILN_DEVICE inline
#endif

namespace kiln::device {

using i32 = int;
using i64 = long long;
using u16 = unsigned short;
using u32 = unsigned int;

inline constexpr u32 kWarpSize = 32;
inline constexpr i32 kChunkBytes = 16;  // what one lane copies, and one row of a matrix of ldmatrix

KILN_DEVICE consteval float minus_inf() { return -__builtin_bit_cast(float, 0x7f800000u); }

/// The element type of Q, K and V.
enum class DType { f16, bf16, f32 };

KILN_DEVICE constexpr i32 element_bytes(DType type) { return type == DType::f32 ? 4 : 2; }

// Numbers of two types each, since a constant is an enumerator to NVRTC (codegen/render.cpp).
template <class A, class B>
KILN_DEVICE constexpr auto min(A a, B b) -> decltype(a + b) {
  return b < a ? b : a;
}

template <class A, class B>
KILN_DEVICE constexpr auto max(A a, B b) -> decltype(a + b) {
  return a < b ? b : a;
}

template <class T>
KILN_DEVICE constexpr T clamp(T x, T low, T high) {
  return min(max(x, low), high);
}

/// For a ≥ 0. Never forms a + b, so it is right up to the largest number.
template <class A, class B>
KILN_DEVICE constexpr auto ceil_div(A a, B b) -> decltype(a + b) {
  return a / b + (a % b != 0 ? 1 : 0);
}

}  // namespace kiln::device
