#include "gpu/tensor.hpp"

#include "gpu/gpu.hpp"
#include "support/half.hpp"
#include "support/random.hpp"

#include <algorithm>

namespace kiln::test {
namespace {

constexpr std::int64_t kGuard = 64;  // elements of NaN before and after
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

std::int64_t begin_of(Layout layout, const Shape& shape) {
  if (layout == Layout::padded) return kGuard + 8;
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
    : dtype_(dtype),
      shape_(shape),
      strides_(strides_of(layout, shape)),
      begin_(static_cast<std::size_t>(begin_of(layout, shape))) {
  const std::int64_t last =
      reach(shape.batch, strides_.batch) + reach(shape.length, strides_.row) + reach(shape.heads, strides_.head);
  host_.assign(begin_ + static_cast<std::size_t>(last + shape.dim + kGuard), kNan16);
  fill(0);
}

template <class Visit>
void Tensor::for_each_row(const Visit& visit) const {
  for (int b = 0; b < shape_.batch; ++b)
    for (int r = 0; r < shape_.length; ++r)
      for (int h = 0; h < shape_.heads; ++h)
        visit(begin_ + static_cast<std::size_t>(b * strides_.batch * (shape_.batch > 1) +
                                                r * strides_.row * (shape_.length > 1) +
                                                h * strides_.head * (shape_.heads > 1)));
}

void Tensor::fill_random(std::uint64_t seed) {
  for_each_row([&](std::size_t at) {
    for (std::size_t c = 0; c < static_cast<std::size_t>(shape_.dim); ++c)
      host_[at + c] = to_16(dtype_, normal(seed, at + c));
  });
}

void Tensor::fill(float value) {
  for_each_row([&](std::size_t at) {
    std::fill_n(host_.begin() + static_cast<std::ptrdiff_t>(at), shape_.dim, to_16(dtype_, value));
  });
}

std::uint16_t* Tensor::row(int batch, int row, int head) {
  return host_.data() + begin_ + batch * strides_.batch + row * strides_.row + head * strides_.head;
}

void Tensor::upload() { device_ = cuda::DeviceBuffer::of(Gpu::driver(), std::span<const std::uint16_t>(host_)); }

void Tensor::download() { device_.download(std::as_writable_bytes(std::span(host_))); }

Input Tensor::input() const { return {device_.as<std::uint16_t>() + begin_, strides_}; }
Output Tensor::output() const { return {device_.as<std::uint16_t>() + begin_, strides_}; }

std::vector<std::uint16_t> Tensor::elements() const {
  std::vector<std::uint16_t> out;
  for_each_row([&](std::size_t at) {
    const auto first = host_.begin() + static_cast<std::ptrdiff_t>(at);
    out.insert(out.end(), first, first + shape_.dim);
  });
  return out;
}

bool Tensor::gaps_untouched() const {
  std::vector<bool> gap(host_.size(), true);
  for_each_row([&](std::size_t at) { std::fill_n(gap.begin() + static_cast<std::ptrdiff_t>(at), shape_.dim, false); });
  for (std::size_t at = 0; at < host_.size(); ++at)
    if (gap[at] && host_[at] != kNan16) return false;
  return true;
}

}  // namespace kiln::test
