#pragma once

#include "cuda/device_memory.hpp"
#include "support/reference.hpp"

#include <kiln/attention.hpp>

#include <cstdint>
#include <string_view>
#include <vector>

namespace kiln::test {

enum class Layout : std::uint8_t {
  bshd,       ///< dense [batch, length, heads, dim]
  bhsd,       ///< dense [batch, heads, length, dim]
  packed,     ///< a slice of rows that hold three times as many heads
  padded,     ///< gaps after every row, head and sequence; a base aligned to 16 bytes only
  broadcast,  ///< one sequence's data for the whole batch (inputs; outputs are bshd)
};
std::string_view to_string(Layout layout);

struct Shape {
  int batch = 0;
  int length = 0;
  int heads = 0;
  int dim = 0;
};

/// A [batch, length, heads, dim] tensor in host memory and, from upload() on, its twin on the GPU.
/// Whatever is no element of it — gaps, and some memory before and after — holds NaN.
class Tensor {
 public:
  Tensor(DType dtype, Layout layout, const Shape& shape);

  /// Near-normal random elements.
  void fill_random(std::uint64_t seed);
  /// The same of one row of one head, which begins `element` elements behind the first.
  void fill_random_row(std::int64_t element, std::uint64_t seed);
  void fill(float value);
  void put(int batch, int row, int head, int column, float value);
  [[nodiscard]] float get(int batch, int row, int head, int column) const;
  /// One row of one head, of 16-bit elements.
  [[nodiscard]] std::uint16_t* row(int batch, int row, int head);

  /// To where it was uploaded before, if it was.
  void upload();
  void download();

  [[nodiscard]] View view() const { return {host_.data() + byte_of(0), strides_}; }
  [[nodiscard]] Input input() const;
  [[nodiscard]] Output output() const;
  [[nodiscard]] const Strides& strides() const { return strides_; }
  [[nodiscard]] const Shape& shape() const { return shape_; }

  /// The elements' bytes, [batch][length][heads][dim], and nothing else.
  [[nodiscard]] std::vector<std::byte> elements() const;
  /// Whether all that is no element still holds the NaN it was made with.
  [[nodiscard]] bool gaps_untouched() const;

 private:
  template <class Visit>
  void for_each_row(const Visit& visit) const;
  /// Of an element counted from the first.
  [[nodiscard]] std::ptrdiff_t byte_of(std::int64_t element) const;
  [[nodiscard]] std::ptrdiff_t row_bytes() const;

  DType dtype_;
  Shape shape_;
  Strides strides_;
  std::int64_t begin_ = 0;
  std::vector<std::byte> host_;
  cuda::DeviceBuffer device_;
};

}  // namespace kiln::test
