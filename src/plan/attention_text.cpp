#include "plan/names.hpp"

#include <kiln/attention.hpp>
#include <kiln/merge.hpp>

#include <fmt/format.h>

namespace kiln {

std::string to_string(const AttentionConfig& config) {
  std::string text = fmt::format("{} d{}", plan::to_string(config.dtype), config.head_dim_qk);
  if (config.head_dim_v != config.head_dim_qk) text += fmt::format("/{}", config.head_dim_v);
  for (const auto& flag : plan::flag_names()) {
    if (config.*flag.member) text += fmt::format(" {}", flag.name);
  }
  if (config.window == Window::sliding) text += " window";
  if (config.window == Window::fixed) text += fmt::format(" window {}/{}", config.window_left, config.window_right);
  if (config.alignment == Alignment::top_left) text += " top-left";
  if (config.bias != Bias::none) text += fmt::format(" {} bias", plan::to_string(config.bias));
  if (config.decode_rows != AttentionConfig{}.decode_rows) text += fmt::format(" {} rows", config.decode_rows);
  return text;
}

std::string to_string(const MergeConfig& config) {
  std::string text(plan::to_string(config.dtype));
  if (config.out_dtype != config.dtype) text += fmt::format(" to {}", plan::to_string(config.out_dtype));
  return text + fmt::format(" d{}", config.head_dim_v);
}

}  // namespace kiln
