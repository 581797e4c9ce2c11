#pragma once

#include <kiln/attention.hpp>

#include <cstdint>

namespace kiln::tune {

/// The 16 bits of `value` rounded to nearest, ties to even. NaN stays NaN; overflow becomes infinity.
std::uint16_t to_bits(float value, DType type);
float from_bits(std::uint16_t bits, DType type);

/// `value` after one rounding to the 16-bit type.
inline float rounded(float value, DType type) { return from_bits(to_bits(value, type), type); }

}  // namespace kiln::tune
