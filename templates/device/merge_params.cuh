// The struct that the host fills and a merging kernel reads.
#pragma once

#include "device/base.cuh"
#include "device/params.cuh"

namespace kiln::device {

inline constexpr i32 kMostStates = 16;

/// What attention over some of the keys gave.
struct PartialState {
  const void* o{};
  const float* lse{};
  Strides o_strides{};
  Strides lse_strides{};
};

struct MergeParams {
  PartialState states[kMostStates]{};
  void* o{};
  float* lse{};  ///< or null
  Strides o_strides{};
  Strides lse_strides{};
  i32 count{};  ///< of the states
  i32 len{};
  i32 heads{};
  u32 rows{};           ///< batch · len · heads
  float lse_to_log2{};  ///< of an LSE, the logarithm to base 2
  float lse_unit{};     ///< its inverse
};
static_assert(sizeof(MergeParams) == 1112);

/// Columns of a row that a thread merges: 16 or 32 bytes.
inline constexpr i32 kMergeColumns = 8;

/// Whole rows that a block merges.
KILN_DEVICE constexpr i32 merge_rows(i32 head_dim_v, i32 warps) {
  return warps * static_cast<i32>(kWarpSize) / (head_dim_v / kMergeColumns);
}

}  // namespace kiln::device
