#include "gpu/call_data.hpp"

#include "gpu/gpu.hpp"
#include "support/element.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace kiln::test {

std::string repro() {
  const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
  if (info == nullptr) return "test_gpu";
  return fmt::format("test_gpu --gtest_filter='{}.{}'", info->test_suite_name(), info->name());
}

namespace {

constexpr std::size_t kGuardRows = 16;

}  // namespace

void LseBuffer::upload() {
  if (device_.size_bytes() == 0) device_ = cuda::DeviceBuffer(Gpu::driver(), (rows_ + kGuardRows) * sizeof(float));
  device_.fill(std::byte{0xff});
}

std::vector<float> LseBuffer::download() const {
  std::vector<float> values(rows_ + kGuardRows);
  device_.download(std::as_writable_bytes(std::span(values)));
  for (std::size_t at = rows_; at < values.size(); ++at)
    EXPECT_TRUE(std::isnan(values[at])) << "written " << at - rows_ << " floats behind the LSE\n  repro: " << repro();
  values.resize(rows_);
  return values;
}

void fill_queries(Tensor& tensor, const Problem& problem, std::uint64_t seed) {
  tensor.fill(kNan);
  for (int b = 0; b < problem.batch; ++b)
    for (int i = 0; i < problem.queries_of(b); ++i)
      for (int head = 0; head < problem.heads_q; ++head)
        tensor.fill_random_row(problem.query_offset(tensor.view(), b, i, head), seed);
}

void fill_keys(Tensor& tensor, const Problem& problem, std::uint64_t seed) {
  tensor.fill(kNan);
  for (int b = 0; b < problem.batch; ++b)
    for (int j = 0; j < problem.keys_of(b); ++j)
      for (int head = 0; head < problem.heads_kv; ++head)
        tensor.fill_random_row(problem.key_offset(tensor.view(), b, j, head), seed);
}

std::vector<float> random_slopes(std::size_t count, std::uint64_t seed) {
  std::vector<float> slopes(count);
  for (std::size_t i = 0; i < count; ++i) slopes[i] = uniform(seed, i) * 0.5F;
  return slopes;
}

std::vector<float> random_sinks(int heads, std::uint64_t seed) {
  std::vector<float> sinks(static_cast<std::size_t>(heads));
  for (std::size_t head = 0; head < sinks.size(); ++head) sinks[head] = 3 * normal(seed, head);
  return sinks;
}

PageDealer::PageDealer(int count, std::uint64_t seed) : pages_(static_cast<std::size_t>(count)), draw_(seed) {
  std::iota(pages_.begin(), pages_.end(), 0);
  for (std::size_t i = pages_.size(); i > 1; --i)
    std::swap(pages_[i - 1], pages_[static_cast<std::size_t>(draw_.below(static_cast<int>(i)))]);
}

std::int32_t PageDealer::next() {
  constexpr int kOneInIsShared = 8;
  // Where all values are one row repeated, the naive computation is exact by luck, and no judge.
  constexpr std::size_t kLeastToShareFrom = 8;
  const bool shared = used_ >= kLeastToShareFrom && draw_.below(kOneInIsShared) == 0;
  return pages_[shared ? static_cast<std::size_t>(draw_.below(static_cast<int>(used_))) : used_++];
}

BiasTensor::BiasTensor(const Problem& problem, const BiasShape& shape, std::uint64_t seed)
    : kind_(problem.config.bias), dtype_(problem.config.dtype) {
  constexpr std::int64_t kGap = 3;
  const std::int64_t row = problem.len_k + kGap;
  const std::int64_t head = shape.rows ? row * problem.len_q : row;
  const std::int64_t batch = shape.heads ? head * problem.heads_q : head;
  strides_ = {.batch = shape.batch ? batch : 0, .row = shape.rows ? row : 0, .head = shape.heads ? head : 0};
  const std::int64_t last = std::max(problem.batch - 1, 0) * strides_.batch + (problem.heads_q - 1) * strides_.head +
                            std::max(problem.len_q - 1, 0) * strides_.row + problem.len_k;
  const std::int64_t elements = last + 1;
  const bool additive = kind_ == Bias::additive;
  host_.assign(static_cast<std::size_t>(elements * (additive ? element_bytes(dtype_) : 1)), std::byte{1});
  if (additive)
    for (std::int64_t at = 0; at < elements; ++at) store_element(dtype_, host_.data(), at, kNan);
  fill(problem, shape, seed);
}

void BiasTensor::fill(const Problem& problem, const BiasShape& shape, std::uint64_t seed) {
  constexpr int kOneInHides = 8;
  constexpr std::uint64_t kOneInRowsHides = 16;
  const auto put_random = [&](std::int64_t at, bool hides) {
    const auto place = static_cast<std::uint64_t>(at);
    if (kind_ == Bias::additive) {
      put(at, hides ? -std::numeric_limits<float>::infinity() : 2 * normal(seed, place));
    } else {
      put(at, hides ? 0 : static_cast<float>(1 + mix(seed, place) % 255));
    }
  };
  const auto fill_row = [&](int b, int head, int i) {
    const std::int64_t begin = View{nullptr, strides_}.offset(b, i, head);
    const bool all = mix(seed + 1, static_cast<std::uint64_t>(begin)) % kOneInRowsHides == 0;
    for (int j = 0; j < problem.keys_of(b); ++j)
      put_random(begin + j, all || mix(seed + 2, static_cast<std::uint64_t>(begin + j)) % kOneInHides == 0);
  };
  for (int b = 0; b < problem.batch; ++b)
    for (int head = 0; head < (shape.heads ? problem.heads_q : 1); ++head)
      for (int i = 0; i < (shape.rows ? problem.queries_of(b) : 1); ++i) fill_row(b, head, i);
}

void BiasTensor::put(std::int64_t element, float value) {
  if (kind_ == Bias::additive) {
    store_element(dtype_, host_.data(), element + 1, value);
  } else {
    host_[static_cast<std::size_t>(element + 1)] = static_cast<std::byte>(value);
  }
}

void BiasTensor::put(int batch, int head, int i, int j, float value) {
  put(View{nullptr, strides_}.offset(batch, i, head) + j, value);
}

std::ptrdiff_t BiasTensor::first_byte() const { return kind_ == Bias::additive ? element_bytes(dtype_) : 1; }

void BiasTensor::upload() { device_ = cuda::DeviceBuffer::of(Gpu::driver(), std::span<const std::byte>(host_)); }

View BiasTensor::view() const { return {host_.empty() ? nullptr : host_.data() + first_byte(), strides_}; }
BiasInput BiasTensor::input() const { return {device_.as<std::byte>() + first_byte(), strides_}; }

}  // namespace kiln::test
