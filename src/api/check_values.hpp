#pragma once

#include <kiln/attention.hpp>

#include <cstdint>

/// What the arguments of every kind of call are held to. Each throws Error(invalid_argument) with the name and the
/// limit.
namespace kiln::api {

inline constexpr std::int64_t kAlignmentBytes = 16;
inline constexpr std::int64_t kStrideLimitBytes = std::int64_t{1} << 40;

void check_pointer(const char* name, const void* pointer, std::int64_t alignment);
/// 0 ≤ value ≤ the most that positions may be.
void check_length(const char* name, int value);
void check_size(const char* name, int value, int least);

struct Sizes {
  std::int64_t batch;
  std::int64_t rows;
  std::int64_t heads;
};

/// Rows of heads, 16 bytes at a time. Nothing is asked of a tensor without elements.
void check_tensor(const char* name, const void* data, const Strides& strides, const Sizes& sizes, bool written,
                  std::int64_t element_bytes);
/// Single numbers: strides as above, but for their alignment.
void check_numbers(const char* name, const void* data, const Strides& strides, const Sizes& sizes, bool written,
                   std::int64_t element_bytes);

}  // namespace kiln::api
