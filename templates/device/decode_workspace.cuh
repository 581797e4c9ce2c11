// What lies where in the workspace of decode. The host sizes it and passes the parts as pointers.
#pragma once

#include "device/base.cuh"

namespace kiln::device {

/// Counters always take the same room at the front, whatever the call: they must be zero when a call
/// starts, and the partial results of another shape would otherwise have been written over them.
inline constexpr i64 kMaxDecodeCounters = i64{1} << 16;
inline constexpr i64 kWorkspaceAlignment = 16;

/// Offsets and size in bytes. Keys that are not split need no workspace: all are 0.
struct DecodeWorkspace {
  i64 counters;       ///< i32
  i64 partial_state;  ///< float [parts, heads_kv, rows of a tile, 2]
  i64 partial_o;      ///< float [parts, heads_kv, rows of a tile, head_dim_v]
  i64 bytes;
};

/// For so many partial results of a row tile.
KILN_DEVICE constexpr DecodeWorkspace decode_workspace(i64 parts, i32 tile_m, i32 head_dim_v) {
  if (parts == 0) return {0, 0, 0, 0};
  const i64 rows = parts * tile_m;
  const i64 float_bytes = sizeof(float);
  const i64 state_begin = kMaxDecodeCounters * static_cast<i64>(sizeof(i32));
  const i64 o_begin = state_begin + ceil_div(rows * 2 * float_bytes, kWorkspaceAlignment) * kWorkspaceAlignment;
  return {.counters = 0,
          .partial_state = state_begin,
          .partial_o = o_begin,
          .bytes = o_begin + rows * head_dim_v * float_bytes};
}

}  // namespace kiln::device
