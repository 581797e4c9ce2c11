// Which block computes what. The host asks for the number of blocks, the kernel for its own work.
#pragma once

#include "device/base.cuh"
#include "device/params.cuh"
#include "device/smem_plan.cuh"

namespace kiln::device {

/// Rows of a forward block are queries, or, where several query heads read the same K and V, the heads of
/// a group side by side: row r is head r % count of query r / count. Short queries then fill a tile, and a
/// tile under the diagonal spans fewer keys.
KILN_DEVICE constexpr HeadPack head_pack(i32 count) {
  return {static_cast<u32>(count), static_cast<u32>(ceil_div(i64{1} << 31, i64{count}))};
}

KILN_DEVICE constexpr i32 query_of_row(const HeadPack& heads, i32 row) {
  return static_cast<i32>(static_cast<unsigned long long>(2u * static_cast<u32>(row)) * heads.inverse >> 32);
}

/// head_pack(group) where its division is exact for every row, else a row is a query.
KILN_DEVICE constexpr HeadPack pack_heads(i32 group, i32 len_q) {
  const i64 limit = (i64{1} << 31) - 1;
  return head_pack(i64{len_q} * group <= limit / group ? group : 1);
}

struct ForwardTile {
  i32 row_tile;
  i32 head;  // the first of the queries' heads
  i32 batch;
};

/// The forward grid. A stream is one (sequence, KV head): the blocks of its query heads and query
/// tiles all read the same K and V. Blocks start about in order of their index, so streams are taken
/// in bundles whose K and V fit the L2 together, and inside a bundle all tiles of one weight are
/// neighbours: heaviest first if the last rows see the most keys, so that the short ones fill the end.
///
/// Sequences with lengths of their own are, for a head, one row of tiles with room for all of theirs, and
/// a block looks up whose its tile is: the batch is then 1.
struct ForwardSchedule {
  i32 row_tiles;
  i32 group;  // heads of a KV head, those packed together being one
  i32 pack;   // heads packed together
  i32 heads_kv;
  i32 streams;
  i32 bundle;  // streams taken together

  KILN_DEVICE constexpr i64 blocks() const { return i64{streams} * group * row_tiles; }

  KILN_DEVICE constexpr ForwardTile tile_of(u32 block, bool heaviest_last_rows) const {
    const u32 bundle_blocks = static_cast<u32>(bundle * group) * static_cast<u32>(row_tiles);
    const i32 first_stream = static_cast<i32>(block / bundle_blocks) * bundle;
    const u32 in_bundle = block % bundle_blocks;
    const u32 row_blocks = static_cast<u32>(min(bundle, streams - first_stream) * group);
    const i32 order = static_cast<i32>(in_bundle / row_blocks);
    const i32 in_row = static_cast<i32>(in_bundle % row_blocks);
    const i32 stream = first_stream + in_row / group;
    return {.row_tile = heaviest_last_rows ? row_tiles - 1 - order : order,
            .head = (stream % heads_kv * group + in_row % group) * pack,
            .batch = stream / heads_kv};
  }
};

/// A fraction of the L2 of a data-centre GPU: blocks of other bundles, and what the kernel writes, want their part of it.
inline constexpr i64 kBundleBytes = 8 << 20;

/// What the grid depends on.
struct ForwardShape {
  i32 batch;
  i32 heads_q;
  i32 heads_kv;
  i32 len_q;  // the most
  i32 len_k;
  bool ragged{};
  i64 total_q{};  // ragged: at least the rows of all sequences together
  i32 key_bytes;  // of K and V, of one key and head
};

KILN_DEVICE constexpr ForwardSchedule forward_schedule(const ForwardShape& shape, i32 tile_m) {
  const i32 group = shape.heads_q / shape.heads_kv;
  const i32 pack = static_cast<i32>(pack_heads(group, shape.len_q).count);
  const i64 stream_bytes = i64{max(shape.len_k, 1)} * shape.key_bytes;
  const i32 streams = shape.heads_kv * (shape.ragged ? 1 : shape.batch);
  const i64 fitting = clamp(kBundleBytes / stream_bytes, i64{1}, i64{max(streams, 1)});
  const i64 most_tiles = ceil_div(i64{shape.len_q} * pack, i64{tile_m});
  // Every sequence has at most one tile that isn't full.
  const i64 tiles =
      shape.ragged ? min(most_tiles * shape.batch, shape.total_q * pack / tile_m + shape.batch) : most_tiles;
  return {.row_tiles = static_cast<i32>(tiles),
          .group = group / pack,
          .pack = pack,
          .heads_kv = shape.heads_kv,
          .streams = streams,
          .bundle = static_cast<i32>(fitting)};
}

}  // namespace kiln::device
