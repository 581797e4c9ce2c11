#include "plan/merge_tiling.hpp"

#include "device/merge_params.cuh"

namespace kiln::plan {

Tiling merge_tiling(const MergeConfig& config) {
  constexpr int kWarps = 4;
  constexpr int kStates = 4;  // most merges have no more
  // What is under way takes registers: twice as many for float32, and so fewer blocks fit.
  const int ctas = config.dtype == DType::f32 ? 6 : 8;
  return {.tile_m = device::merge_rows(config.head_dim_v, kWarps),
          .tile_n = kStates,
          .warps = kWarps,
          .stages = 1,
          .ctas_per_sm = ctas};
}

}  // namespace kiln::plan
