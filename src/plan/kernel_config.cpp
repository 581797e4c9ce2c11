#include "plan/kernel_config.hpp"

#include "plan/names.hpp"

#include <fmt/format.h>

namespace kiln::plan {

namespace {

std::string side_text(int side) { return side < 0 ? "open" : fmt::format("{}", side); }

}  // namespace

int element_bytes(DType dtype) { return dtype == DType::f32 ? 4 : 2; }

KernelRequest canonical(KernelRequest request) {
  if (request.kind == KernelKind::merge) {
    request.config = {};
    return request;
  }
  request.merge = {};
  auto& config = request.config;
  const bool decode = request.kind == KernelKind::decode;
  if (decode) {
    // The call says it.
    config.causal = config.sinks = config.ragged = false;
    config.window = Window::none;
    config.alignment = Alignment::bottom_right;
  } else {
    config.decode_rows = AttentionConfig{}.decode_rows;
  }
  if (config.window == Window::fixed && config.window_left < 0 && config.window_right < 0) config.window = Window::none;
  if (config.window != Window::fixed) config.window_left = config.window_right = -1;
  const bool has_diagonal = config.causal || config.window != Window::none || config.alibi;
  if (!has_diagonal) config.alignment = Alignment::bottom_right;
  if (config.dtype == DType::f32) config.output_f32 = false;  // it is anyway
  if (config.dtype != DType::f32) config.allow_tf32 = false;
  return request;
}

namespace {

std::string name_of(const MergeConfig& merge) {
  std::string name = fmt::format("merge_{}", to_string(merge.dtype));
  if (merge.out_dtype != merge.dtype) name += fmt::format("_{}", to_string(merge.out_dtype));
  return name + fmt::format("_d{}", merge.head_dim_v);
}

std::string name_of(const KernelRequest& request) {
  if (request.kind == KernelKind::merge) return name_of(request.merge);
  const auto& attention = request.config;
  std::string name =
      fmt::format("{}_{}_d{}", to_string(request.kind), to_string(attention.dtype), attention.head_dim_qk);
  if (attention.head_dim_v != attention.head_dim_qk) name += fmt::format("x{}", attention.head_dim_v);
  for (const auto& flag : flag_names()) {
    if (attention.*flag.member) name += fmt::format("_{}", flag.name);
  }
  if (attention.alignment == Alignment::top_left) name += "_topleft";
  if (attention.window == Window::sliding) name += "_window";
  if (attention.window == Window::fixed) {
    name += fmt::format("_window{}r{}", side_text(attention.window_left), side_text(attention.window_right));
  }
  if (attention.bias != Bias::none) name += fmt::format("_{}", to_string(attention.bias));
  return name;
}

}  // namespace

std::string name_of(const KernelConfig& config) {
  const auto& tiling = config.tiling;
  return name_of(config.request) + fmt::format("_m{}n{}w{}s{}c{}_sm{}", tiling.tile_m, tiling.tile_n, tiling.warps,
                                               tiling.stages, tiling.ctas_per_sm, config.capability);
}

}  // namespace kiln::plan
