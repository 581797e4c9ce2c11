#include "gpu/forward_call.hpp"

#include "support/element.hpp"

#include <algorithm>
#include <cmath>

namespace kiln::test {
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
  fill_queries(q, problem(), seed);
  fill_keys(k, problem(), seed + 1);
  fill_keys(v, problem(), seed + 2);
  if (test.config.bias != Bias::none) bias = BiasTensor(problem(), test.bias, seed + 3);
  const auto heads = static_cast<std::size_t>(test.heads_q);
  if (test.config.alibi)
    alibi_slopes = random_slopes(heads * static_cast<std::size_t>(test.slopes_per_sequence ? test.batch : 1), seed + 4);
  if (test.config.sinks) sinks = random_sinks(test.heads_q, seed + 5);
  out.fill(kNan);  // what the kernel forgets to write shows, and what it must not
}

void ForwardCall::make_page_table() {
  const Problem truth = problem();
  PageDealer pages(page_count(test), seed_of(name_of(test)) + 6);
  constexpr std::int64_t kEntriesBehind = 2;
  page_row_stride = (std::int64_t{test.len_k} + test.page_size - 1) / test.page_size + kEntriesBehind;
  page_table.assign(static_cast<std::size_t>(test.batch * page_row_stride), kNoPage);
  for (int b = 0; b < test.batch; ++b)
    for (int page = 0; page * test.page_size < truth.keys_of(b); ++page)
      page_table[static_cast<std::size_t>(b * page_row_stride + page)] = pages.next();
}

void ForwardCall::upload() {
  const auto list = [](const auto& values) { return cuda::DeviceBuffer::of(Gpu::driver(), std::span(values)); };
  for (Tensor* tensor : {&q, &k, &v, &out}) tensor->upload();
  lse.upload();
  bias.upload();
  device_.alibi_slopes = list(alibi_slopes);
  device_.sinks = list(sinks);
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
  if (config.bias != Bias::none) call.bias = bias.input();
  if (config.paged) call.pages = {device_.page_table.as<std::int32_t>(), page_row_stride, test.page_size};
  return call;
}

Problem ForwardCall::problem() const {
  const AttentionConfig& config = test.config;
  const float usual = 1 / std::sqrt(static_cast<float>(config.head_dim_qk));
  return {.config = config,
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
          .bias = bias.view(),
          .lengths_q = test.sequences.used_q,
          .cu_seqlens_q = test.sequences.cu_q,
          .cu_seqlens_k = test.sequences.cu_k,
          .total_q = test.sequences.total_q,
          .page_table = page_table,
          .page_row_stride = page_row_stride,
          .page_size = test.page_size};
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
