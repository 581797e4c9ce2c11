#include "gpu/forward_call.hpp"

#include <algorithm>

namespace kiln::test {
namespace {

Shape query_shape(const ForwardCase& test) {
  if (!test.sequences.cu_q.empty()) return {1, test.sequences.total_q, test.heads_q};
  return {test.batch, test.len_q, test.heads_q};
}

/// Pages and packed sequences have no batch to repeat them over.
Layout key_layout(const ForwardCase& test) {
  return test.config.paged || !test.sequences.cu_k.empty() ? without_broadcast(test.layout) : test.layout;
}

/// Room for every page of every sequence, and some that none has.
int page_count(const ForwardCase& test) {
  constexpr int kSpare = 3;
  return test.batch * ((test.len_k + test.page_size - 1) / test.page_size) + kSpare;
}

Shape key_shape(const ForwardCase& test) {
  if (test.config.paged) return {page_count(test), test.page_size, test.heads_kv};
  // How many rows there are is on the device, so a row stride can't be garbage even for one.
  if (!test.sequences.cu_k.empty()) return {1, std::max(test.sequences.cu_k.back(), 2), test.heads_kv};
  return {test.batch, test.len_k, test.heads_kv};
}

}  // namespace

ForwardCall::ForwardCall(const ForwardCase& given)
    : CallTensors(given.config, {without_broadcast(given.layout), query_shape(given)},
                  {key_layout(given), key_shape(given)}),
      test(given) {
  const std::uint64_t seed = seed_of(name_of(test));
  if (test.config.paged) make_page_table(seed + 6);
  fill(test.bias, static_cast<std::size_t>(test.heads_q * (test.slopes_per_sequence ? test.batch : 1)), seed);
}

void ForwardCall::make_page_table(std::uint64_t seed) {
  const Problem truth = problem();
  PageDealer pages(page_count(test), seed);
  constexpr std::int64_t kEntriesBehind = 2;
  page_row_stride = (std::int64_t{test.len_k} + test.page_size - 1) / test.page_size + kEntriesBehind;
  page_table.assign(static_cast<std::size_t>(test.batch * page_row_stride), kNoPage);
  for (int b = 0; b < test.batch; ++b)
    for (int page = 0; page * test.page_size < truth.keys_of(b); ++page)
      page_table[static_cast<std::size_t>(b * page_row_stride + page)] = pages.next();
}

void ForwardCall::upload() {
  CallTensors::upload();
  device_ = {.cu_q = on_device(test.sequences.cu_q),
             .cu_k = on_device(test.sequences.cu_k),
             .used_q = on_device(test.sequences.used_q),
             .used_k = on_device(test.sequences.used_k)};
}

void ForwardCall::set_sequences(const SequenceCase& sequences) {
  test.sequences = sequences;
  put(device_.cu_q, sequences.cu_q);
  put(device_.cu_k, sequences.cu_k);
  put(device_.used_q, sequences.used_q);
  put(device_.used_k, sequences.used_k);
  clear_results();
}

ForwardArgs ForwardCall::args() const {
  auto call = args_of<ForwardArgs>(test, test.batch);
  call.k = k.input();
  call.v = v.input();
  call.len_k = test.len_k;
  call.lengths = {.cu_seqlens_q = device_.cu_q.as<std::int32_t>(),
                  .cu_seqlens_k = device_.cu_k.as<std::int32_t>(),
                  .seqused_q = device_.used_q.as<std::int32_t>(),
                  .seqused_k = device_.used_k.as<std::int32_t>(),
                  .total_q = test.sequences.total_q};
  if (test.config.paged) call.pages = {device_page_table(), page_row_stride, test.page_size};
  return call;
}

Problem ForwardCall::problem() const {
  Problem problem = problem_of(test, test.batch, test.len_k);
  problem.lengths = test.sequences.used_k;
  problem.lengths_q = test.sequences.used_q;
  problem.cu_seqlens_q = test.sequences.cu_q;
  problem.cu_seqlens_k = test.sequences.cu_k;
  problem.total_q = test.sequences.total_q;
  problem.page_row_stride = page_row_stride;
  return problem;
}

void ForwardCall::launch(Stream stream, const Runtime& runtime) const {
  runtime.forward(test.config).launch(stream, args());
}

}  // namespace kiln::test
