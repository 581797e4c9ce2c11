#include "gpu/tensor.hpp"

#include "gpu/gpu.hpp"
#include "support/element.hpp"
#include "support/random.hpp"

#include <algorithm>
#include <array>
#include <limits>

namespace kiln::test {
namespace {

constexpr std::int64_t kGuard = 8192;  // elements of NaN before and after: more than a row of all heads
constexpr float kGap = std::numeric_limits<float>::quiet_NaN();
// Strides of dimensions of size 1 mean nothing, so the padded layout fills them with this.
constexpr std::int64_t kGarbageStride = -1234567;

Strides strides_of(Layout layout, const Shape& shape) {
  const std::int64_t dim = shape.dim;
  switch (layout) {
    case Layout::bshd:
      return Strides::bshd(shape.length, shape.heads, dim);
    case Layout::bhsd:
      return Strides::bhsd(shape.length, shape.heads, dim);
    case Layout::packed:
      return Strides::bshd(shape.length, 3LL * shape.heads, dim);
    case Layout::padded: {
      const std::int64_t head = dim + 8;
      const std::int64_t row = head * shape.heads + 24;
      const std::int64_t batch = row * shape.length + 40;
      return {shape.batch == 1 ? kGarbageStride : batch, shape.length == 1 ? kGarbageStride : row,
              shape.heads == 1 ? kGarbageStride : head};
    }
    case Layout::broadcast: {
      Strides strides = Strides::bshd(shape.length, shape.heads, dim);
      strides.batch = 0;
      return strides;
    }
  }
  return {};
}

std::int64_t begin_of(Layout layout, const Shape& shape, DType dtype) {
  if (layout == Layout::padded) return kGuard + 16 / element_bytes(dtype);
  if (layout == Layout::packed) return kGuard + std::int64_t{shape.heads} * shape.dim;
  return kGuard;
}

std::int64_t reach(std::int64_t size, std::int64_t stride) { return size > 1 ? (size - 1) * stride : 0; }

}  // namespace

std::string_view to_string(Layout layout) {
  switch (layout) {
    case Layout::bshd:
      return "bshd";
    case Layout::bhsd:
      return "bhsd";
    case Layout::packed:
      return "packed";
    case Layout::padded:
      return "padded";
    case Layout::broadcast:
      return "broadcast";
  }
  return "?";
}

Tensor::Tensor(DType dtype, Layout layout, const Shape& shape)
    : dtype_(dtype), shape_(shape), strides_(strides_of(layout, shape)), begin_(begin_of(layout, shape, dtype)) {
  const std::int64_t last =
      reach(shape.batch, strides_.batch) + reach(shape.length, strides_.row) + reach(shape.heads, strides_.head);
  const std::int64_t elements = begin_ + last + shape.dim + kGuard;
  host_.resize(static_cast<std::size_t>(elements * element_bytes(dtype)));
  for (std::int64_t at = 0; at < elements; ++at) store_element(dtype_, host_.data(), at, kGap);
  fill(0);
}

std::ptrdiff_t Tensor::byte_of(std::int64_t element) const { return (begin_ + element) * element_bytes(dtype_); }
std::ptrdiff_t Tensor::row_bytes() const { return std::ptrdiff_t{shape_.dim} * element_bytes(dtype_); }

template <class Visit>
void Tensor::for_each_row(const Visit& visit) const {
  for (int b = 0; b < shape_.batch; ++b)
    for (int r = 0; r < shape_.length; ++r)
      for (int h = 0; h < shape_.heads; ++h)
        visit(b * strides_.batch * (shape_.batch > 1) + r * strides_.row * (shape_.length > 1) +
              h * strides_.head * (shape_.heads > 1));
}

void Tensor::fill_random(std::uint64_t seed) {
  for_each_row([&](std::int64_t element) { fill_random_row(element, seed); });
}

void Tensor::fill_random_row(std::int64_t element, std::uint64_t seed) {
  for (std::int64_t at = begin_ + element; at < begin_ + element + shape_.dim; ++at)
    store_element(dtype_, host_.data(), at, normal(seed, static_cast<std::uint64_t>(at)));
}

void Tensor::fill(float value) {
  for_each_row([&](std::int64_t element) {
    for (int c = 0; c < shape_.dim; ++c) store_element(dtype_, host_.data(), begin_ + element + c, value);
  });
}

void Tensor::put(int batch, int row, int head, int column, float value) {
  store_element(dtype_, host_.data(), begin_ + view().offset(batch, row, head) + column, value);
}

float Tensor::get(int batch, int row, int head, int column) const {
  return load_element(dtype_, host_.data(), begin_ + view().offset(batch, row, head) + column);
}

std::uint16_t* Tensor::row(int batch, int row, int head) {
  return reinterpret_cast<std::uint16_t*>(host_.data() + byte_of(view().offset(batch, row, head)));
}

void Tensor::upload() {
  if (device_.size_bytes() == 0) device_ = cuda::DeviceBuffer(Gpu::driver(), host_.size());
  device_.upload(host_);
}

void Tensor::download() { device_.download(host_); }

Input Tensor::input() const { return {device_.as<std::byte>() + byte_of(0), strides_}; }
Output Tensor::output() const { return {device_.as<std::byte>() + byte_of(0), strides_}; }

std::vector<std::byte> Tensor::elements() const {
  std::vector<std::byte> out;
  for_each_row([&](std::int64_t element) {
    const auto first = host_.begin() + byte_of(element);
    out.insert(out.end(), first, first + row_bytes());
  });
  return out;
}

bool Tensor::gaps_untouched() const {
  std::vector<bool> gap(host_.size(), true);
  for_each_row([&](std::int64_t element) { std::fill_n(gap.begin() + byte_of(element), row_bytes(), false); });
  std::array<std::byte, sizeof(float)> nan{};
  store_element(dtype_, nan.data(), 0, kGap);
  for (std::size_t at = 0; at < host_.size(); ++at)
    if (gap[at] && host_[at] != nan[at % static_cast<std::size_t>(element_bytes(dtype_))]) return false;
  return true;
}

}  // namespace kiln::test
