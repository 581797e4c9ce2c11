#include "tune/half.hpp"

#include <bit>
#include <cmath>
#include <cstring>

namespace kiln::tune {
namespace {

std::uint16_t bf16_bits(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (std::isnan(value)) return static_cast<std::uint16_t>((bits >> 16U) | 0x40U);  // quiet, and never an infinity
  const std::uint32_t ties_to_even = (bits >> 16U) & 1U;
  return static_cast<std::uint16_t>((bits + 0x7FFFU + ties_to_even) >> 16U);
}

std::uint16_t f16_bits(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 16U) & 0x8000U);
  const std::uint32_t magnitude = bits & 0x7FFF'FFFFU;
  if (magnitude > 0x7F80'0000U) return sign | 0x7E00U;   // NaN
  if (magnitude >= 0x4780'0000U) return sign | 0x7C00U;  // 65536 and above
  if (magnitude < 0x3880'0000U) {                        // below 2^-14: a multiple of 2^-24
    const auto steps = static_cast<std::uint32_t>(std::nearbyint(std::ldexp(std::bit_cast<float>(magnitude), 24)));
    return static_cast<std::uint16_t>(sign | steps);
  }
  const std::uint32_t ties_to_even = (magnitude >> 13U) & 1U;
  const std::uint32_t rebiased = magnitude - ((127U - 15U) << 23U);
  return static_cast<std::uint16_t>(sign | ((rebiased + 0x0FFFU + ties_to_even) >> 13U));
}

float f16_value(std::uint16_t bits) {
  const std::uint32_t sign = (bits & 0x8000U) << 16U;
  const std::uint32_t exponent = (bits >> 10U) & 0x1FU;
  const std::uint32_t fraction = bits & 0x3FFU;
  if (exponent == 0) {
    const float magnitude = std::ldexp(static_cast<float>(fraction), -24);
    return sign != 0 ? -magnitude : magnitude;
  }
  const std::uint32_t wide_exponent = exponent == 0x1FU ? 0xFFU : exponent + (127U - 15U);
  return std::bit_cast<float>(sign | (wide_exponent << 23U) | (fraction << 13U));
}

}  // namespace

std::uint16_t to_bits(float value, DType type) { return type == DType::bf16 ? bf16_bits(value) : f16_bits(value); }

float from_bits(std::uint16_t bits, DType type) {
  return type == DType::bf16 ? std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16U) : f16_value(bits);
}

float load_element(std::span<const std::byte> tensor, std::size_t index, DType type) {
  if (type == DType::f32) {
    float value = 0;
    std::memcpy(&value, tensor.subspan(index * sizeof(value), sizeof(value)).data(), sizeof(value));
    return value;
  }
  std::uint16_t bits = 0;
  std::memcpy(&bits, tensor.subspan(index * sizeof(bits), sizeof(bits)).data(), sizeof(bits));
  return from_bits(bits, type);
}

void store_element(std::span<std::byte> tensor, std::size_t index, float value, DType type) {
  if (type == DType::f32) {
    std::memcpy(tensor.subspan(index * sizeof(value), sizeof(value)).data(), &value, sizeof(value));
    return;
  }
  const std::uint16_t bits = to_bits(value, type);
  std::memcpy(tensor.subspan(index * sizeof(bits), sizeof(bits)).data(), &bits, sizeof(bits));
}

}  // namespace kiln::tune
