#include "gpu/forward_call.hpp"

#include "support/element.hpp"
#include "support/random.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace kiln::test {

std::string repro() {
  const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
  if (info == nullptr) return "test_gpu";
  return fmt::format("test_gpu --gtest_filter='{}.{}'", info->test_suite_name(), info->name());
}

namespace {

constexpr std::size_t kGuard = 16;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr std::int32_t kNoPage = std::numeric_limits<std::int32_t>::max();

}  // namespace

void LseBuffer::upload() {
  if (device_.size_bytes() == 0) device_ = cuda::DeviceBuffer(Gpu::driver(), (rows_ + kGuard) * sizeof(float));
  device_.fill(std::byte{0xff});
}

std::vector<float> LseBuffer::download() const {
  std::vector<float> values(rows_ + kGuard);
  device_.download(std::as_writable_bytes(std::span(values)));
  for (std::size_t at = rows_; at < values.size(); ++at)
    EXPECT_TRUE(std::isnan(values[at])) << "written " << at - rows_ << " floats behind the LSE\n  repro: " << repro();
  values.resize(rows_);
  return values;
}

namespace {

/// Only k and v may repeat their data; q is then dense, so that sequences differ.
Layout query_layout(Layout layout) { return layout == Layout::broadcast ? Layout::bshd : layout; }

/// Pages and packed sequences have no batch to repeat them over.
Layout key_layout(const ForwardCase& test) {
  return test.config.paged || !test.sequences.cu_k.empty() ? query_layout(test.layout) : test.layout;
}

/// Room for every page of every sequence, and some that none has.
int page_count(const ForwardCase& test) {
  constexpr int kSpare = 3;
  return test.batch * ((test.len_k + test.page_size - 1) / test.page_size) + kSpare;
}

}  // namespace

Shape ForwardCall::query_shape(int dim) const {
  if (!test.sequences.cu_q.empty()) return {1, test.sequences.total_q, test.heads_q, dim};
  return {test.batch, test.len_q, test.heads_q, dim};
}

Shape ForwardCall::key_shape(int dim) const {
  if (test.config.paged) return {page_count(test), test.page_size, test.heads_kv, dim};
  // How many rows there are is on the device, so a row stride can't be garbage even for one.
  if (!test.sequences.cu_k.empty()) return {1, std::max(test.sequences.cu_k.back(), 2), test.heads_kv, dim};
  return {test.batch, test.len_k, test.heads_kv, dim};
}

ForwardCall::ForwardCall(const ForwardCase& given)
    : test(given),
      q(test.config.dtype, query_layout(test.layout), query_shape(test.config.head_dim_qk)),
      k(test.config.dtype, key_layout(test), key_shape(test.config.head_dim_qk)),
      v(test.config.dtype, key_layout(test), key_shape(test.config.head_dim_v)),
      out(output_type(test.config), query_layout(test.layout), query_shape(test.config.head_dim_v)),
      lse(static_cast<std::size_t>(out.shape().batch) * static_cast<std::size_t>(out.shape().length) *
          static_cast<std::size_t>(test.heads_q)) {
  const std::uint64_t seed = seed_of(name_of(test));
  if (test.config.paged) make_page_table();
  fill_queries(seed);
  fill_keys(k, seed + 1);
  fill_keys(v, seed + 2);
  if (test.config.bias != Bias::none) fill_bias(seed + 3);
  const auto heads = static_cast<std::size_t>(test.heads_q);
  if (test.config.alibi) {
    alibi_slopes.resize(heads * static_cast<std::size_t>(test.slopes_per_sequence ? test.batch : 1));
    for (std::size_t i = 0; i < alibi_slopes.size(); ++i) alibi_slopes[i] = uniform(seed + 4, i) * 0.5F;
  }
  if (test.config.sinks) {
    sinks.resize(heads);
    for (std::size_t head = 0; head < heads; ++head) sinks[head] = 3 * normal(seed + 5, head);
  }
  out.fill(kNan);  // what the kernel forgets to write shows, and what it must not
}

void ForwardCall::make_page_table() {
  const std::uint64_t seed = seed_of(name_of(test)) + 6;
  const Problem truth = problem();
  Draw draw(seed);
  constexpr int kOneInSharesAPage = 8;
  // Where all values are one row repeated, the naive computation is exact by luck, and no judge.
  constexpr int kLeastToShareFrom = 8;
  constexpr std::int64_t kEntriesBehind = 2;
  std::vector<std::int32_t> pages(static_cast<std::size_t>(page_count(test)));
  for (std::size_t i = 0; i < pages.size(); ++i) pages[i] = static_cast<std::int32_t>(i);
  for (std::size_t i = pages.size(); i > 1; --i)
    std::swap(pages[i - 1], pages[static_cast<std::size_t>(draw.below(static_cast<int>(i)))]);
  page_row_stride = (std::int64_t{test.len_k} + test.page_size - 1) / test.page_size + kEntriesBehind;
  page_table.assign(static_cast<std::size_t>(test.batch * page_row_stride), kNoPage);
  int used = 0;
  for (int b = 0; b < test.batch; ++b)
    for (int page = 0; page * test.page_size < truth.keys_of(b); ++page) {
      const bool shared = used >= kLeastToShareFrom && draw.below(kOneInSharesAPage) == 0;
      const int taken = shared ? draw.below(used) : used++;
      page_table[static_cast<std::size_t>(b * page_row_stride + page)] = pages[static_cast<std::size_t>(taken)];
    }
}

void ForwardCall::fill_queries(std::uint64_t seed) {
  q.fill(kNan);
  const Problem truth = problem();
  for (int b = 0; b < test.batch; ++b)
    for (int i = 0; i < truth.queries_of(b); ++i)
      for (int head = 0; head < test.heads_q; ++head) q.fill_random_row(truth.query_offset(truth.q, b, i, head), seed);
}

void ForwardCall::fill_keys(Tensor& tensor, std::uint64_t seed) const {
  tensor.fill(kNan);
  const Problem truth = problem();
  for (int b = 0; b < test.batch; ++b)
    for (int j = 0; j < truth.keys_of(b); ++j)
      for (int head = 0; head < test.heads_kv; ++head)
        tensor.fill_random_row(truth.key_offset(tensor.view(), b, j, head), seed);
}

/// Rows with a gap after each, and sides that aren't there with a stride of 0.
Strides ForwardCall::bias_strides() const {
  constexpr std::int64_t kGap = 3;
  const std::int64_t row = test.len_k + kGap;
  const std::int64_t head = test.bias.rows ? row * test.len_q : row;
  const std::int64_t batch = test.bias.heads ? head * test.heads_q : head;
  return {.batch = test.bias.batch ? batch : 0, .row = test.bias.rows ? row : 0, .head = test.bias.heads ? head : 0};
}

void ForwardCall::fill_bias(std::uint64_t seed) {
  constexpr int kOneInHides = 8;
  constexpr std::uint64_t kOneInRowsHides = 16;
  const Problem truth = problem();
  const Strides strides = bias_strides();
  const bool additive = test.config.bias == Bias::additive;
  const std::int64_t last = std::max(test.batch - 1, 0) * strides.batch + (test.heads_q - 1) * strides.head +
                            std::max(test.len_q - 1, 0) * strides.row + test.len_k;
  const std::int64_t elements = last + 1;  // the first is left out: bias is aligned as its elements are
  bias.assign(static_cast<std::size_t>(elements * (additive ? element_bytes(test.config.dtype) : 1)), std::byte{1});
  if (additive)
    for (std::int64_t at = 0; at < elements; ++at) store_element(test.config.dtype, bias.data(), at, kNan);
  const auto put = [&](std::int64_t at, bool hides) {
    const auto place = static_cast<std::uint64_t>(at);
    if (additive) {
      put_bias(at, hides ? -std::numeric_limits<float>::infinity() : 2 * normal(seed, place));
    } else {
      put_bias(at, hides ? 0 : static_cast<float>(1 + mix(seed, place) % 255));
    }
  };
  const auto fill_row = [&](int b, int head, int i) {
    const std::int64_t begin = View{nullptr, strides}.offset(b, i, head);
    const bool all = mix(seed + 1, static_cast<std::uint64_t>(begin)) % kOneInRowsHides == 0;
    for (int j = 0; j < truth.keys_of(b); ++j)
      put(begin + j, all || mix(seed + 2, static_cast<std::uint64_t>(begin + j)) % kOneInHides == 0);
  };
  for (int b = 0; b < test.batch; ++b)
    for (int head = 0; head < (test.bias.heads ? test.heads_q : 1); ++head)
      for (int i = 0; i < (test.bias.rows ? truth.queries_of(b) : 1); ++i) fill_row(b, head, i);
}

void ForwardCall::put_bias(std::int64_t element, float value) {
  if (test.config.bias == Bias::additive) {
    store_element(test.config.dtype, bias.data(), element + 1, value);
  } else {
    bias[static_cast<std::size_t>(element + 1)] = static_cast<std::byte>(value);
  }
}

void ForwardCall::put_bias(int batch, int head, int i, int j, float value) {
  put_bias(View{nullptr, bias_strides()}.offset(batch, i, head) + j, value);
}

void ForwardCall::upload() {
  const auto list = [](const auto& values) { return cuda::DeviceBuffer::of(Gpu::driver(), std::span(values)); };
  for (Tensor* tensor : {&q, &k, &v, &out}) tensor->upload();
  lse.upload();
  device_.alibi_slopes = list(alibi_slopes);
  device_.sinks = list(sinks);
  device_.bias = list(bias);
  device_.page_table = list(page_table);
  device_.cu_q = list(test.sequences.cu_q);
  device_.cu_k = list(test.sequences.cu_k);
  device_.used_q = list(test.sequences.used_q);
  device_.used_k = list(test.sequences.used_k);
}

void ForwardCall::set_sequences(const SequenceCase& sequences) {
  test.sequences = sequences;
  const auto put = [](cuda::DeviceBuffer& device, const std::vector<std::int32_t>& values) {
    if (!values.empty()) device.upload(std::as_bytes(std::span(values)));
  };
  put(device_.cu_q, sequences.cu_q);
  put(device_.cu_k, sequences.cu_k);
  put(device_.used_q, sequences.used_q);
  put(device_.used_k, sequences.used_k);
  out.fill(kNan);
  out.upload();
  lse.upload();
}

ForwardArgs ForwardCall::args() const {
  const AttentionConfig& config = test.config;
  ForwardArgs call{.q = q.input(),
                   .k = k.input(),
                   .v = v.input(),
                   .out = out.output(),
                   .lse = test.lse ? lse.data() : nullptr,
                   .batch = test.batch,
                   .len_q = test.len_q,
                   .len_k = test.len_k,
                   .heads_q = test.heads_q,
                   .heads_kv = test.heads_kv,
                   .scale = test.scale,
                   .window_left = test.window_left,
                   .window_right = test.window_right,
                   .lse_base2 = test.lse_base2,
                   .alibi_slopes = device_.alibi_slopes.as<float>(),
                   .alibi_batch_stride = test.slopes_per_sequence ? test.heads_q : 0,
                   .sinks = device_.sinks.as<float>(),
                   .lengths = {.cu_seqlens_q = device_.cu_q.as<std::int32_t>(),
                               .cu_seqlens_k = device_.cu_k.as<std::int32_t>(),
                               .seqused_q = device_.used_q.as<std::int32_t>(),
                               .seqused_k = device_.used_k.as<std::int32_t>(),
                               .total_q = test.sequences.total_q}};
  if (config.softcap) call.softcap = test.softcap;
  if (config.bias != Bias::none) {
    const int first = config.bias == Bias::additive ? element_bytes(config.dtype) : 1;
    call.bias = {device_.bias.as<std::byte>() + first, bias_strides()};
  }
  if (config.paged) call.pages = {device_.page_table.as<std::int32_t>(), page_row_stride, test.page_size};
  return call;
}

Problem ForwardCall::problem() const {
  const AttentionConfig& config = test.config;
  const float usual = 1 / std::sqrt(static_cast<float>(config.head_dim_qk));
  Problem problem{.config = config,
                  .batch = test.batch,
                  .len_q = test.len_q,
                  .len_k = test.len_k,
                  .heads_q = test.heads_q,
                  .heads_kv = test.heads_kv,
                  .scale = test.scale.value_or(usual),
                  .window_left = test.window_left,
                  .window_right = test.window_right,
                  .lengths = test.sequences.used_k,
                  .q = q.view(),
                  .k = k.view(),
                  .v = v.view(),
                  .lse_base2 = test.lse_base2,
                  .softcap = test.softcap,
                  .alibi_slopes = alibi_slopes,
                  .sinks = sinks,
                  .lengths_q = test.sequences.used_q,
                  .cu_seqlens_q = test.sequences.cu_q,
                  .cu_seqlens_k = test.sequences.cu_k,
                  .total_q = test.sequences.total_q,
                  .page_table = page_table,
                  .page_row_stride = page_row_stride,
                  .page_size = test.page_size};
  if (!bias.empty()) {
    const int first = config.bias == Bias::additive ? element_bytes(config.dtype) : 1;
    problem.bias = {bias.data() + first, bias_strides()};
  }
  return problem;
}

void ForwardCall::launch(Stream stream, const Runtime& runtime) const {
  runtime.forward(test.config).launch(stream, args());
}

::testing::AssertionResult ForwardCall::matches_reference() {
  return matches(Judge(problem()));  // the GPU works meanwhile
}

::testing::AssertionResult ForwardCall::matches(const Judge& judge) {
  const Problem truth = problem();
  Gpu::synchronize();
  out.download();
  if (!out.gaps_untouched()) return ::testing::AssertionFailure() << "written between rows\n  repro: " << repro();
  if (auto good = output_matches(truth, out.view(), judge, repro()); !good || !test.lse) return good;
  return lse_matches(truth, lse.download(), judge, repro());
}

}  // namespace kiln::test
