// Which block computes what. The host asks for the number of blocks, the kernel for its own work.
#pragma once

#include "device/base.cuh"
#include "device/smem_plan.cuh"

namespace kiln::device {

struct ForwardTile {
  i32 m_tile;
  i32 head;  // of the queries
  i32 batch;
};

/// The forward grid. A stream is one (sequence, KV head): the blocks of its query heads and query
/// tiles all read the same K and V. Blocks start about in order of their index, so streams are taken
/// in bundles whose K and V fit the L2 together, and inside a bundle all tiles of one weight are
/// neighbours: heaviest first if the last rows see the most keys, so that the short ones fill the end.
struct ForwardSchedule {
  i32 m_tiles;
  i32 group;  // query heads of a KV head
  i32 heads_kv;
  i32 streams;
  i32 bundle;  // streams taken together

  KILN_DEVICE constexpr i64 blocks() const { return i64{streams} * group * m_tiles; }

  KILN_DEVICE constexpr ForwardTile tile_of(u32 block, bool heaviest_last_rows) const {
    const u32 bundle_blocks = static_cast<u32>(bundle * group) * static_cast<u32>(m_tiles);
    const i32 first_stream = static_cast<i32>(block / bundle_blocks) * bundle;
    const u32 in_bundle = block % bundle_blocks;
    const u32 row_blocks = static_cast<u32>(min(bundle, streams - first_stream) * group);
    const i32 order = static_cast<i32>(in_bundle / row_blocks);
    const i32 in_row = static_cast<i32>(in_bundle % row_blocks);
    const i32 stream = first_stream + in_row / group;
    return {.m_tile = heaviest_last_rows ? m_tiles - 1 - order : order,
            .head = stream % heads_kv * group + in_row % group,
            .batch = stream / heads_kv};
  }
};

/// About half of the L2 of a data-centre GPU: the other half is for Q, O and what comes next.
inline constexpr i64 kBundleBytes = 24 << 20;

KILN_DEVICE constexpr ForwardSchedule forward_schedule(i32 batch, i32 heads_q, i32 heads_kv, i32 len_q, i32 len_k,
                                                       i32 tile_m, i32 head_dim_qk, i32 head_dim_v,
                                                       i32 element_bytes = 2) {
  const i32 streams = batch * heads_kv;
  const i64 stream_bytes = i64{max(len_k, 1)} * (head_dim_qk + head_dim_v) * element_bytes;
  const i64 fitting = clamp(kBundleBytes / stream_bytes, i64{1}, i64{max(streams, 1)});
  return {.m_tiles = ceil_div(len_q, tile_m),
          .group = heads_q / heads_kv,
          .heads_kv = heads_kv,
          .streams = streams,
          .bundle = static_cast<i32>(fitting)};
}

struct DecodeTile {
  i32 row_tile;  // of the query heads of the KV head
  i32 kv_head;
  i32 split;
  i32 batch;
};

/// The decode grid. Row tiles share their K and V, and KV heads are neighbours in most caches: both
/// run at the same time.
struct DecodeSchedule {
  i32 row_tiles;
  i32 heads_kv;
  i32 splits;
  i32 batch;

  KILN_DEVICE constexpr i64 blocks() const { return i64{row_tiles} * heads_kv * splits * batch; }

  KILN_DEVICE constexpr DecodeTile tile_of(u32 block) const {
    const u32 row_tile = block % static_cast<u32>(row_tiles);
    block /= static_cast<u32>(row_tiles);
    const u32 kv_head = block % static_cast<u32>(heads_kv);
    block /= static_cast<u32>(heads_kv);
    return {.row_tile = static_cast<i32>(row_tile),
            .kv_head = static_cast<i32>(kv_head),
            .split = static_cast<i32>(block % static_cast<u32>(splits)),
            .batch = static_cast<i32>(block / static_cast<u32>(splits))};
  }
};

KILN_DEVICE constexpr DecodeSchedule decode_schedule(i32 batch, i32 heads_q, i32 heads_kv, i32 splits) {
  return {
      .row_tiles = ceil_div(heads_q / heads_kv, kDecodeRows), .heads_kv = heads_kv, .splits = splits, .batch = batch};
}

}  // namespace kiln::device
