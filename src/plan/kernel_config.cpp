#include "plan/kernel_config.hpp"

#include "plan/names.hpp"

#include <fmt/format.h>

namespace kiln::plan {

int element_bytes(DType dtype) { return dtype == DType::f32 ? 4 : 2; }

KernelRequest canonical(KernelRequest request) {
  auto& config = request.config;
  if (request.kind == KernelKind::decode) config.causal = false;
  const bool has_diagonal = config.causal || config.window == Window::sliding;
  if (request.kind == KernelKind::decode || !has_diagonal) config.alignment = Alignment::bottom_right;
  return request;
}

std::string name_of(const KernelConfig& config) {
  const auto& attention = config.request.config;
  const auto& tiling = config.tiling;
  std::string name =
      fmt::format("{}_{}_d{}", to_string(config.request.kind), to_string(attention.dtype), attention.head_dim_qk);
  if (attention.head_dim_v != attention.head_dim_qk) name += fmt::format("x{}", attention.head_dim_v);
  if (attention.causal) name += "_causal";
  if (attention.alignment == Alignment::top_left) name += "_topleft";
  if (attention.window == Window::sliding) name += "_window";
  return name + fmt::format("_m{}n{}w{}s{}c{}_sm{}", tiling.tile_m, tiling.tile_n, tiling.warps, tiling.stages,
                            tiling.ctas_per_sm, config.capability);
}

}  // namespace kiln::plan
