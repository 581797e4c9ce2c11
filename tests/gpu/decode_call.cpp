#include "gpu/decode_call.hpp"

#include "support/half.hpp"
#include "support/random.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <ostream>

namespace kiln::test {

std::string name_of(const DecodeCase& test) {
  std::string name = name_of(test.config);
  if (test.window_left >= 0) name += fmt::format("_l{}", test.window_left);
  name += fmt::format("_n{}", test.max_len_k);
  if (test.pass_lengths) {
    for (const std::int32_t length : test.lengths) name += length < 0 ? "_minus" : fmt::format("_{}", length);
  } else {
    name += fmt::format("_b{}_whole", test.lengths.size());
  }
  name += fmt::format("_h{}x{}_splits{}_{}", test.heads_q, test.heads_kv, test.num_splits, to_string(test.layout));
  if (test.lse) name += "_lse";
  return name;
}

void PrintTo(const DecodeCase& test, std::ostream* out) { *out << name_of(test); }

namespace {

Layout query_layout(Layout layout) { return layout == Layout::broadcast ? Layout::bshd : layout; }

}  // namespace

DecodeCall::DecodeCall(const DecodeCase& given)
    : test(given),
      q(test.config.dtype, query_layout(test.layout), {batch(), 1, test.heads_q, test.config.head_dim_qk}),
      k(test.config.dtype, test.layout, {batch(), test.max_len_k, test.heads_kv, test.config.head_dim_qk}),
      v(test.config.dtype, test.layout, {batch(), test.max_len_k, test.heads_kv, test.config.head_dim_v}),
      out(test.config.dtype, query_layout(test.layout), {batch(), 1, test.heads_q, test.config.head_dim_v}),
      lse(static_cast<std::size_t>(batch()) * static_cast<std::size_t>(test.heads_q)) {
  const std::uint64_t seed = seed_of(name_of(test));
  q.fill_random(seed);
  k.fill_random(seed + 1);
  v.fill_random(seed + 2);
  // With the batch broadcast a row may lie beyond one sequence's length and within another's.
  if (test.pass_lengths && test.layout != Layout::broadcast) {
    spoil_tails(k);
    spoil_tails(v);
  }
  out.fill(std::nanf(""));
}

void DecodeCall::spoil_tails(Tensor& cache) const {
  const Problem truth = problem();
  for (int b = 0; b < batch(); ++b)
    for (int row = truth.keys_of(b); row < test.max_len_k; ++row)
      for (int head = 0; head < test.heads_kv; ++head) std::fill_n(cache.row(b, row, head), cache.shape().dim, kNan16);
}

void DecodeCall::upload() {
  for (Tensor* tensor : {&q, &k, &v, &out}) tensor->upload();
  lse.upload();
  lengths = cuda::DeviceBuffer::of(Gpu::driver(), std::span<const std::int32_t>(test.lengths));
}

void DecodeCall::set_lengths(const std::vector<std::int32_t>& changed) {
  test.lengths = changed;
  lengths.upload(std::as_bytes(std::span(changed)));
}

DecodeArgs DecodeCall::args() const {
  return {.q = q.input(),
          .k_cache = k.input(),
          .v_cache = v.input(),
          .out = out.output(),
          .lse = test.lse ? lse.data() : nullptr,
          .lengths = test.pass_lengths ? lengths.as<std::int32_t>() : nullptr,
          .batch = batch(),
          .max_len_k = test.max_len_k,
          .heads_q = test.heads_q,
          .heads_kv = test.heads_kv,
          .scale = {},
          .window_left = test.window_left,
          .num_splits = test.num_splits,
          .workspace = workspace.data(),
          .workspace_bytes = workspace.size_bytes()};
}

Problem DecodeCall::problem() const {
  AttentionConfig config = test.config;
  config.alignment = Alignment::bottom_right;  // the new token is the last of its sequence, always
  return {.config = config,
          .batch = batch(),
          .len_q = 1,
          .len_k = test.max_len_k,
          .heads_q = test.heads_q,
          .heads_kv = test.heads_kv,
          .scale = 1 / std::sqrt(static_cast<float>(test.config.head_dim_qk)),
          .window_left = test.window_left,
          .window_right = -1,
          .lengths = test.pass_lengths ? test.lengths : std::vector<std::int32_t>{},
          .q = q.view(),
          .k = k.view(),
          .v = v.view()};
}

void DecodeCall::launch(Stream stream, const Runtime& runtime) {
  const DecodeKernel kernel = runtime.decode(test.config);
  DecodeArgs call = args();
  if (call.workspace_bytes < kernel.workspace_bytes(call)) workspace = make_workspace(kernel, call);
  kernel.launch(stream, call);
}

::testing::AssertionResult DecodeCall::matches_reference() { return matches(Judge(problem())); }

::testing::AssertionResult DecodeCall::matches(const Judge& judge) {
  const Problem truth = problem();
  Gpu::synchronize();
  out.download();
  if (!out.gaps_untouched()) return ::testing::AssertionFailure() << "written between rows\n  repro: " << repro();
  if (auto good = output_matches(truth, out.view(), judge, repro()); !good || !test.lse) return good;
  return lse_matches(truth, lse.download(), judge, repro());
}

}  // namespace kiln::test
