#include "gpu/forward_call.hpp"

#include "support/half.hpp"
#include "support/random.hpp"

#include <fmt/format.h>

#include <cmath>
#include <ostream>

namespace kiln::test {

std::string name_of(const AttentionConfig& config) {
  std::string name = config.dtype == DType::f16 ? "f16" : "bf16";
  name += fmt::format("_d{}", config.head_dim_qk);
  if (config.head_dim_v != config.head_dim_qk) name += fmt::format("x{}", config.head_dim_v);
  if (config.causal) name += "_causal";
  if (config.window == Window::sliding) name += "_window";
  if (config.alignment == Alignment::top_left) name += "_topleft";
  return name;
}

namespace {

std::string side(int keys) { return keys < 0 ? "open" : fmt::format("{}", keys); }

}  // namespace

std::string name_of(const ForwardCase& test) {
  std::string name = name_of(test.config);
  if (test.config.window == Window::sliding)
    name += fmt::format("_l{}_r{}", side(test.window_left), side(test.window_right));
  name += fmt::format("_b{}_q{}_k{}_h{}x{}_{}", test.batch, test.len_q, test.len_k, test.heads_q, test.heads_kv,
                      to_string(test.layout));
  if (test.scale) name += fmt::format("_scale{:.0f}pm", *test.scale * 1000);  // per mille: names hold no dots
  if (test.lse) name += "_lse";
  return name;
}

void PrintTo(const ForwardCase& test, std::ostream* out) { *out << name_of(test); }

std::string repro() {
  const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
  if (info == nullptr) return "test_gpu";
  return fmt::format("test_gpu --gtest_filter='{}.{}'", info->test_suite_name(), info->name());
}

namespace {

constexpr std::size_t kGuard = 16;

}  // namespace

LseBuffer::LseBuffer(std::size_t rows) : rows_(rows), device_(Gpu::driver(), (rows + kGuard) * sizeof(float)) {
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

}  // namespace

ForwardCall::ForwardCall(const ForwardCase& given)
    : test(given),
      q(test.config.dtype, query_layout(test.layout), {test.batch, test.len_q, test.heads_q, test.config.head_dim_qk}),
      k(test.config.dtype, test.layout, {test.batch, test.len_k, test.heads_kv, test.config.head_dim_qk}),
      v(test.config.dtype, test.layout, {test.batch, test.len_k, test.heads_kv, test.config.head_dim_v}),
      out(test.config.dtype, query_layout(test.layout), {test.batch, test.len_q, test.heads_q, test.config.head_dim_v}),
      lse(static_cast<std::size_t>(test.batch) * static_cast<std::size_t>(test.heads_q) *
          static_cast<std::size_t>(test.len_q)) {
  const std::uint64_t seed = seed_of(name_of(test));
  q.fill_random(seed);
  k.fill_random(seed + 1);
  v.fill_random(seed + 2);
  out.fill(std::nanf(""));  // what the kernel forgets to write shows
}

void ForwardCall::upload() {
  for (Tensor* tensor : {&q, &k, &v, &out}) tensor->upload();
}

ForwardArgs ForwardCall::args() const {
  return {.q = q.input(),
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
          .window_right = test.window_right};
}

Problem ForwardCall::problem() const {
  const float usual = 1 / std::sqrt(static_cast<float>(test.config.head_dim_qk));
  return {.config = test.config,
          .batch = test.batch,
          .len_q = test.len_q,
          .len_k = test.len_k,
          .heads_q = test.heads_q,
          .heads_kv = test.heads_kv,
          .scale = test.scale.value_or(usual),
          .window_left = test.window_left,
          .window_right = test.window_right,
          .lengths = {},
          .q = q.view(),
          .k = k.view(),
          .v = v.view()};
}

void ForwardCall::launch(Stream stream, const Runtime& runtime) const {
  runtime.forward(test.config).launch(stream, args());
}

::testing::AssertionResult ForwardCall::matches_reference() {
  const Problem truth = problem();
  const Judge judge(truth);  // the GPU works meanwhile
  Gpu::synchronize();
  out.download();
  if (!out.gaps_untouched()) return ::testing::AssertionFailure() << "written between rows\n  repro: " << repro();
  if (auto good = output_matches(truth, out.view(), judge, repro()); !good || !test.lse) return good;
  return lse_matches(truth, lse.download(), judge, repro());
}

}  // namespace kiln::test
