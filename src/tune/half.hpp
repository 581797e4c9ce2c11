#pragma once

#include <kiln/attention.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace kiln::tune {

/// The 16 bits of `value` rounded to nearest, ties to even. NaN stays NaN; overflow becomes infinity.
std::uint16_t to_bits(float value, DType type);
float from_bits(std::uint16_t bits, DType type);

/// `value` after one rounding to the type: none for float32.
inline float rounded(float value, DType type) {
  return type == DType::f32 ? value : from_bits(to_bits(value, type), type);
}

/// Element `index` of a tensor of any type.
float load_element(std::span<const std::byte> tensor, std::size_t index, DType type);
void store_element(std::span<std::byte> tensor, std::size_t index, float value, DType type);

}  // namespace kiln::tune
