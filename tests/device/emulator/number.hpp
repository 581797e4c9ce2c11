// The kernels' element types as bits, converted on the host with rounding to nearest even.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace emulator {

/// Numbered as the kernels' DType.
enum class Number { f16, bf16, f32 };

inline float from_bf16(std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }

inline std::uint16_t to_bf16(float x) {
  if (std::isnan(x)) return 0x7fff;
  const auto bits = std::bit_cast<std::uint32_t>(x);
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline float from_f16(std::uint16_t bits) {
  const float sign = (bits & 0x8000) != 0 ? -1.0f : 1.0f;
  if ((bits & 0x7c00) == 0x7c00) return (bits & 1023) != 0 ? NAN : sign * INFINITY;
  // The bits in a float's places are the number, subnormal or not, but for the exponents' biases.
  return sign * 0x1p112f * std::bit_cast<float>(static_cast<std::uint32_t>(bits & 0x7fff) << 13);
}

inline std::uint16_t to_f16(float x) {
  const int sign = std::signbit(x) ? 0x8000 : 0;
  const float a = std::fabs(x);
  if (std::isnan(x)) return 0x7fff;
  if (a >= 65520.0f) return static_cast<std::uint16_t>(sign | 0x7c00);
  // In units of the last place, nearbyint rounds to even; a carry runs into the exponent by itself.
  const int exponent = a < 0x1p-14f ? -14 : std::ilogb(a);
  const int units = static_cast<int>(std::nearbyint(std::ldexp(a, 10 - exponent)));
  return static_cast<std::uint16_t>(sign + units + ((exponent + 14) << 10));
}

template <bool kBf16>
float from_bits(std::uint16_t bits) {
  return kBf16 ? from_bf16(bits) : from_f16(bits);
}

template <bool kBf16>
std::uint16_t to_bits(float x) {
  return kBf16 ? to_bf16(x) : to_f16(x);
}

}  // namespace emulator
