#pragma once

#include "plan/kernel_config.hpp"

namespace kiln::plan {

/// The one tiling of a merging kernel: whole rows in blocks of four warps (tile_m), and states whose loads are under
/// way together (tile_n). It takes no shared memory.
Tiling merge_tiling(const MergeConfig& config);

}  // namespace kiln::plan
