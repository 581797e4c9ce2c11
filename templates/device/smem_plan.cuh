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
/// large dims leave for 16 of them.
struct DecodeWarps {
  i32 rows;  // warps side by side along the rows
  i32 keys;  // along the keys
};

KILN_DEVICE constexpr DecodeWarps decode_warps(i32 head_dim_v, i32 tile_m, i32 warps) {
  const i32 rows = tile_m / (head_dim_v > 128 ? 16 : min(tile_m, 32));
  return {rows, warps / rows};
}

/// The fp32 rows in which warps exchange their O are this much longer than head_dim_v, so that the 8
/// rows that a warp writes at once start in different banks.
inline constexpr i32 kDecodeRowPad = 8;

/// Q, and `stages` tiles of K and V, whose place the warps' O, maxima and sums take at the end, and with pages where
/// the rows of a tile lie.
KILN_DEVICE constexpr i32 decode_smem_bytes(DType type, i32 head_dim_qk, i32 head_dim_v, i32 tile_m, i32 tile_n,
                                            i32 stages, i32 warps, bool paged) {
  const i32 row_qk = padded_dim(head_dim_qk, type);
  const i32 row_v = padded_dim(head_dim_v, type);
  const i32 q = tile_m * row_qk * element_bytes(type);
  const i32 kv = stages * tile_n * (row_qk + row_v) * element_bytes(type);
  const i32 states = decode_warps(head_dim_v, tile_m, warps).keys * tile_m;
  const i32 merge = states * (head_dim_v + kDecodeRowPad + 2) * static_cast<i32>(sizeof(float));
  const i32 rows = paged ? tile_n * 2 * static_cast<i32>(sizeof(i64)) : 0;
  return ceil_div(q + max(kv, merge) + rows, kSmemAlignment) * kSmemAlignment;
}

}  // namespace kiln::device
