// How many bytes of shared memory a kernel needs: asked by the host's plan, asserted by the kernel.
#pragma once

#include "device/base.cuh"
#include "device/swizzle.cuh"

namespace kiln::device {

inline constexpr i32 kSmemAlignment = 128;  // of the structs

/// Q, whose place O takes at the end, `stages` tiles of K and V, with pages where their rows lie, and what waits for
/// the end.
KILN_DEVICE constexpr i32 forward_smem_bytes(DType type, i32 head_dim_qk, i32 head_dim_v, i32 tile_m, i32 tile_n,
                                             i32 stages, bool paged) {
  const i32 row_qk = padded_dim(head_dim_qk, type);
  const i32 row_v = padded_dim(head_dim_v, type);
  const i32 q_or_o = tile_m * max(row_qk, row_v);
  const i32 kv = stages * tile_n * (row_qk + row_v);
  const i32 rows = paged ? max(stages, 2) * tile_n * 2 * static_cast<i32>(sizeof(i64)) : 0;
  return (q_or_o + kv) * element_bytes(type) + rows + kSmemAlignment;
}

/// Decode: how the warps of a block share a tile of rows and keys. A warp keeps O of all its rows in registers, which
/// leave room for 32 of them up to a dim of 64.
struct DecodeWarps {
  i32 rows;  // warps side by side along the rows
  i32 keys;  // along the keys
};

KILN_DEVICE constexpr DecodeWarps decode_warps(i32 head_dim_v, i32 tile_m, i32 warps) {
  const i32 rows = tile_m / (head_dim_v > 64 || warps > 4 ? 16 : min(tile_m, 32));
  return {rows, warps / rows};
}

/// The work at hand, and what is copied for already; one more, since a warp may be late with the one before.
inline constexpr i32 kDecodeWorks = 3;
inline constexpr i32 kDecodeWorkBytes = 128;
/// Of Q: the rows at hand and the next ones.
inline constexpr i32 kDecodeQueries = 2;

/// Bytes that `stages` tiles of K and V take, and, over one of them or behind them all, O of the warps along the keys.
struct DecodePlaces {
  i32 place;
  i32 output;
  i32 stages;

  KILN_DEVICE constexpr DecodePlaces(DType type, i32 head_dim_qk, i32 head_dim_v, i32 tile_m, i32 tile_n,
                                     i32 stage_count, i32 warps)
      : place(tile_n * (padded_dim(head_dim_qk, type) + padded_dim(head_dim_v, type)) * element_bytes(type)),
        output(decode_warps(head_dim_v, tile_m, warps).keys * tile_m * head_dim_v * static_cast<i32>(sizeof(float))),
        stages(stage_count) {}
  KILN_DEVICE constexpr bool output_has_own() const { return output > place; }
  KILN_DEVICE constexpr i32 bytes() const { return stages * place + (output_has_own() ? output : 0); }
};

/// That, Q, the warps' maxima and sums, what is known of the work, and with pages where the rows of a tile lie.
KILN_DEVICE constexpr i32 decode_smem_bytes(DType type, i32 head_dim_qk, i32 head_dim_v, i32 tile_m, i32 tile_n,
                                            i32 stages, i32 warps, bool paged) {
  const i32 places = DecodePlaces(type, head_dim_qk, head_dim_v, tile_m, tile_n, stages, warps).bytes();
  const i32 q = kDecodeQueries * tile_m * padded_dim(head_dim_qk, type) * element_bytes(type);
  const i32 float_bytes = sizeof(float);
  const i32 states = decode_warps(head_dim_v, tile_m, warps).keys * tile_m * 2 * float_bytes;
  const i32 rows = paged ? tile_n * 2 * static_cast<i32>(sizeof(i64)) : 0;
  const i32 works = kDecodeWorks * kDecodeWorkBytes;
  return ceil_div(places + q + states + rows + works, kSmemAlignment) * kSmemAlignment;
}

}  // namespace kiln::device
