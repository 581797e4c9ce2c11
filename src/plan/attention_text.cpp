#include "plan/names.hpp"

#include <kiln/attention.hpp>

#include <fmt/format.h>

namespace kiln {

std::string to_string(const AttentionConfig& config) {
  std::string text = fmt::format("{} d{}", plan::to_string(config.dtype), config.head_dim_qk);
  if (config.head_dim_v != config.head_dim_qk) text += fmt::format("/{}", config.head_dim_v);
  if (config.causal) text += " causal";
  if (config.window == Window::sliding) text += " window";
  if (config.alignment == Alignment::top_left) text += " top-left";
  return text;
}

}  // namespace kiln
