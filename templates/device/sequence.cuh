// Where the rows of one sequence lie, and how many it has: from the call's arguments, or from lengths on
// the device.
#pragma once

#include "device/base.cuh"
#include "device/online_softmax.cuh"
#include "device/params.cuh"

namespace kiln::device {

/// One side, queries or keys, of all sequences.
struct SequenceRows {
  const i32* cu_seqlens;  // null: sequence b begins at b · strides.batch
  const i32* seqused;     // null: all rows count
  i32 most;

  /// Of sequence b: 0 … most, whatever the device memory says.
  KILN_DEVICE i32 length(i32 b) const {
    i32 rows = most;
    if (cu_seqlens != nullptr) rows = min(rows, cu_seqlens[b + 1] - cu_seqlens[b]);
    if (seqused != nullptr) rows = min(rows, seqused[b]);
    return max(rows, 0);
  }

  /// Elements from the tensor's start to row 0 of sequence b.
  KILN_DEVICE i64 begin(i32 b, const Strides& strides) const {
    return cu_seqlens != nullptr ? cu_seqlens[b] * strides.row : b * strides.batch;
  }
};

/// A tile of rows of one sequence; `batch` is the number of sequences if there is none.
struct SequenceTile {
  i32 batch;
  i32 row_tile;
};

/// The `index`-th tile of all sequences, in their order, each one's tiles from the last to the first if
/// the last rows see the most keys. All lanes of a warp ask together.
KILN_DEVICE SequenceTile find_sequence_tile(const SequenceRows& rows, i32 batch, i32 rows_per_query, i32 tile_m,
                                            i32 index, bool heaviest_last_rows, u32 lane) {
  i32 before = 0;  // tiles of earlier sequences
  for (i32 first = 0; first < batch; first += kWarpSize) {
    const i32 mine = first + static_cast<i32>(lane);
    const i32 tiles = mine < batch ? ceil_div(rows.length(mine) * rows_per_query, tile_m) : 0;
    i32 end = tiles;  // of this lane's sequence, among those of the warp's
#pragma unroll
    for (u32 distance = 1; distance < kWarpSize; distance *= 2) {
      const i32 other = __shfl_up_sync(kAllLanes, end, distance);
      if (lane >= distance) end += other;
    }
    const u32 beyond = __ballot_sync(kAllLanes, index < before + end);
    if (beyond != 0) {
      const i32 owner = __ffs(static_cast<i32>(beyond)) - 1;
      const i32 owner_tiles = __shfl_sync(kAllLanes, tiles, owner);
      const i32 place = index - before - (__shfl_sync(kAllLanes, end, owner) - owner_tiles);
      return {first + owner, heaviest_last_rows ? owner_tiles - 1 - place : place};
    }
    before += __shfl_sync(kAllLanes, end, kWarpSize - 1);
  }
  return {batch, 0};
}

}  // namespace kiln::device
