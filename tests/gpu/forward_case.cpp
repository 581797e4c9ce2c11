#include "gpu/forward_case.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <ostream>

namespace kiln::test {

std::string_view name_of(DType dtype) {
  switch (dtype) {
    case DType::f16:
      return "f16";
    case DType::bf16:
      return "bf16";
    case DType::f32:
      return "f32";
  }
  return "?";
}

// Names hold letters, digits and underscores only.

namespace {

std::string side(int keys) { return keys < 0 ? "open" : fmt::format("{}", keys); }

}  // namespace

std::string sides(int left, int right) { return fmt::format("_l{}_r{}", side(left), side(right)); }

std::string mille(float value) { return fmt::format("{}{:.0f}pm", value < 0 ? "minus" : "", std::abs(value) * 1000); }

std::string bias_name(const BiasShape& shape) {
  if (shape == BiasShape{}) return "";
  return fmt::format("_bias{}{}{}", shape.batch ? "b" : "", shape.heads ? "h" : "", shape.rows ? "q" : "");
}

std::string name_of(const AttentionConfig& config) {
  std::string name = fmt::format("{}_d{}", name_of(config.dtype), config.head_dim_qk);
  if (config.head_dim_v != config.head_dim_qk) name += fmt::format("x{}", config.head_dim_v);
  if (config.causal) name += "_causal";
  if (config.window == Window::sliding) name += "_window";
  if (config.window == Window::fixed) name += "_fixed" + sides(config.window_left, config.window_right);
  if (config.alignment == Alignment::top_left) name += "_topleft";
  if (config.softcap) name += "_softcap";
  if (config.alibi) name += "_alibi";
  if (config.sinks) name += "_sinks";
  if (config.bias == Bias::additive) name += "_additive";
  if (config.bias == Bias::mask) name += "_mask";
  if (config.ragged) name += "_ragged";
  if (config.paged) name += "_paged";
  if (config.output_f32) name += "_outf32";
  if (config.allow_tf32) name += "_tf32";
  return name;
}

std::string name_of(const ForwardCase& test) {
  const AttentionConfig& config = test.config;
  std::string name = name_of(config);
  if (config.window == Window::sliding) name += sides(test.window_left, test.window_right);
  name += fmt::format("_b{}_q{}_k{}_h{}x{}_{}", test.batch, test.len_q, test.len_k, test.heads_q, test.heads_kv,
                      to_string(test.layout));
  if (!test.sequences.cu_q.empty()) name += fmt::format("_cuq{}", test.sequences.total_q);
  if (!test.sequences.cu_k.empty()) name += fmt::format("_cuk{}", test.sequences.cu_k.back());
  if (!test.sequences.used_q.empty()) name += "_usedq";
  if (!test.sequences.used_k.empty()) name += "_usedk";
  if (config.paged) name += fmt::format("_page{}", test.page_size);
  if (config.softcap) name += fmt::format("_cap{:.0f}", test.softcap);
  if (config.alibi && test.slopes_per_sequence) name += "_slopes";
  if (config.bias != Bias::none) name += bias_name(test.bias);
  if (test.scale) name += "_scale" + mille(*test.scale);
  if (test.lse) name += test.lse_base2 ? "_lse2" : "_lse";
  if (test.seed != 0) name += fmt::format("_s{}", test.seed);
  return name;
}

std::string description(const ForwardCase& test) {
  ForwardCase unseeded = test;
  unseeded.seed = 0;
  std::string text = name_of(unseeded);
  const SequenceCase& sequences = test.sequences;
  const auto add = [&](std::string_view name, const std::vector<std::int32_t>& values) {
    if (!values.empty()) text += fmt::format(" {} {}", name, values);
  };
  add("cu_seqlens_q", sequences.cu_q);
  add("cu_seqlens_k", sequences.cu_k);
  add("seqused_q", sequences.used_q);
  add("seqused_k", sequences.used_k);
  return text;
}

void PrintTo(const ForwardCase& test, std::ostream* out) { *out << description(test) << ", seed " << test.seed; }

}  // namespace kiln::test
