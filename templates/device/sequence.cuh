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

/// One of several things that each take so many places in a row.
struct IndexInSum {
  i32 owner;   // their number if the index is beyond them all
  i32 before;  // places of those in front of the owner
};

/// Whose place `index` is, of things 0 … count − 1. All lanes of a warp ask together.
template <class SizeOf>
KILN_DEVICE IndexInSum find_in_sum(i32 count, i32 index, u32 lane, SizeOf size_of) {
  i32 before = 0;
  for (i32 first = 0; first < count; first += kWarpSize) {
    const i32 mine = first + static_cast<i32>(lane);
    const i32 size = mine < count ? size_of(mine) : 0;
    i32 end = size;  // of this lane's thing, among those of the warp's
#pragma unroll
    for (u32 distance = 1; distance < kWarpSize; distance *= 2) {
      const i32 other = __shfl_up_sync(kAllLanes, end, distance);
      if (lane >= distance) end += other;
    }
    const u32 beyond = __ballot_sync(kAllLanes, index < before + end);
    if (beyond != 0) {
      const i32 owner = __ffs(static_cast<i32>(beyond)) - 1;
      return {first + owner, before + __shfl_sync(kAllLanes, end - size, owner)};
    }
    before += __shfl_sync(kAllLanes, end, kWarpSize - 1);
  }
  return {count, before};
}

/// A tile of rows of one sequence; `batch` is the number of sequences if there is none.
struct SequenceTile {
  i32 batch;
  i32 row_tile;
};

/// The `index`-th tile of all sequences, in their order, each one's tiles from the last to the first if
/// the last rows see the most keys. All lanes of a warp ask together.
KILN_DEVICE SequenceTile find_sequence_tile(const SequenceRows& rows, i32 batch, i32 rows_per_query, i32 tile_m,
                                            i32 index, bool heaviest_last_rows, u32 lane) {
  const auto tiles_of = [&](i32 b) { return ceil_div(rows.length(b) * rows_per_query, tile_m); };
  const IndexInSum found = find_in_sum(batch, index, lane, tiles_of);
  if (found.owner == batch) return {batch, 0};
  const i32 place = index - found.before;
  return {found.owner, heaviest_last_rows ? tiles_of(found.owner) - 1 - place : place};
}

}  // namespace kiln::device
