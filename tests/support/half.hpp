#pragma once

#include <kiln/attention.hpp>

#include <bit>
#include <cstdint>

/// 16-bit floats on the host, written out so that the tests share no code with what they check.
namespace kiln::test {

namespace detail {

inline constexpr std::uint32_t kSignMask = 0x8000'0000U;
inline constexpr std::uint32_t kInfinity = 0x7f80'0000U;

inline std::uint16_t narrow(std::uint32_t bits) { return static_cast<std::uint16_t>(bits); }

}  // namespace detail

/// Rounds to nearest even; above 65504 that may be infinity. A NaN stays one.
inline std::uint16_t to_f16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits & detail::kSignMask) >> 16U;
  std::uint32_t magnitude = bits & ~detail::kSignMask;
  if (magnitude > detail::kInfinity) return detail::narrow(sign | 0x7e00U);
  if (magnitude >= 0x477f'f000U) return detail::narrow(sign | 0x7c00U);  // 65520 and above
  if (magnitude < 0x3880'0000U) {
    // Below 2^-14 f16 is subnormal, in steps of 2^-24: just the last place of a float in [0.5, 1), so
    // this addition does the rounding.
    const float sum = std::bit_cast<float>(magnitude) + 0.5F;
    return detail::narrow(sign | (std::bit_cast<std::uint32_t>(sum) - std::bit_cast<std::uint32_t>(0.5F)));
  }
  magnitude += 0xfffU + ((magnitude >> 13U) & 1U);
  return detail::narrow(sign | ((magnitude - 0x3800'0000U) >> 13U));
}

inline float from_f16(std::uint16_t half) {
  const std::uint32_t sign = (half & 0x8000U) << 16U;
  const std::uint32_t exponent = (half >> 10U) & 0x1fU;
  const std::uint32_t mantissa = half & 0x3ffU;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;
    return sign != 0 ? -magnitude : magnitude;
  }
  if (exponent == 0x1fU) return std::bit_cast<float>(sign | detail::kInfinity | (mantissa << 13U));
  return std::bit_cast<float>(sign | ((exponent + 112U) << 23U) | (mantissa << 13U));
}

/// Rounds to nearest even. A NaN stays one.
inline std::uint16_t to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & ~detail::kSignMask) > detail::kInfinity) return detail::narrow((bits >> 16U) | 0x40U);
  return detail::narrow((bits + 0x7fffU + ((bits >> 16U) & 1U)) >> 16U);
}

inline float from_bf16(std::uint16_t half) { return std::bit_cast<float>(static_cast<std::uint32_t>(half) << 16U); }

inline std::uint16_t to_16(DType dtype, float value) { return dtype == DType::f16 ? to_f16(value) : to_bf16(value); }
inline float from_16(DType dtype, std::uint16_t bits) { return dtype == DType::f16 ? from_f16(bits) : from_bf16(bits); }

/// The value that the type holds nearest to `value`.
inline float round_16(DType dtype, float value) { return from_16(dtype, to_16(dtype, value)); }

/// A quiet NaN in both types.
inline constexpr std::uint16_t kNan16 = 0x7fff;

}  // namespace kiln::test
