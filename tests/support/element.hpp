#pragma once

#include "support/half.hpp"

#include <cstddef>
#include <cstring>

/// Elements of any type on the host, as numbers.
namespace kiln::test {

inline constexpr int element_bytes(DType dtype) { return dtype == DType::f32 ? 4 : 2; }

/// What the output holds.
inline constexpr DType output_type(const AttentionConfig& config) {
  return config.output_f32 ? DType::f32 : config.dtype;
}

/// Element `at` of memory that holds elements of `dtype`.
inline float load_element(DType dtype, const void* data, std::int64_t at) {
  if (dtype == DType::f32) return static_cast<const float*>(data)[at];
  return from_16(dtype, static_cast<const std::uint16_t*>(data)[at]);
}

inline void store_element(DType dtype, void* data, std::int64_t at, float value) {
  if (dtype == DType::f32) {
    static_cast<float*>(data)[at] = value;
  } else {
    static_cast<std::uint16_t*>(data)[at] = to_16(dtype, value);
  }
}

/// The value that the type holds nearest to `value`.
inline float round_to(DType dtype, float value) { return dtype == DType::f32 ? value : round_16(dtype, value); }

/// Rounds to the 10 bits of mantissa that a TF32 product takes, halves away from 0. Infinity and NaN stay.
inline float to_tf32(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & detail::kInfinity) == detail::kInfinity) return value;
  return std::bit_cast<float>((bits + 0x1000U) & ~0x1fffU);
}

}  // namespace kiln::test
