#include "gpu/call_case.hpp"

#include <cmath>

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

}  // namespace kiln::test
