// What lies where in the workspace of decode. The host sizes it and passes the parts as pointers.
#pragma once

#include "device/base.cuh"
#include "device/smem_plan.cuh"

namespace kiln::device {

/// Counters always take the same room at the front, whatever the call: they must be zero when a call
/// starts, and the partial results of another shape would otherwise have been written over them.
inline constexpr i64 kMaxDecodeCounters = i64{1} << 16;
inline constexpr i64 kWorkspaceAlignment = 16;

/// Offsets and size in bytes. Keys that are not split need no workspace: all are 0.
struct DecodeWorkspace {
  i64 counters;     ///< i32 [batch, heads_kv, row tiles]
  i64 partial_lse;  ///< float [batch, heads_q, splits]
  i64 partial_o;    ///< float [batch, heads_q, splits, head_dim_v]
  i64 bytes;
};

/// How many counters a call uses; more than kMaxDecodeCounters can't be split.
KILN_DEVICE constexpr i64 decode_counters(i32 batch, i32 heads_q, i32 heads_kv) {
  return i64{batch} * heads_kv * ceil_div(heads_q / heads_kv, kDecodeRows);
}

KILN_DEVICE constexpr DecodeWorkspace decode_workspace(i32 batch, i32 heads_q, i32 head_dim_v, i32 splits) {
  if (splits <= 1) return {0, 0, 0, 0};
  const i64 states = i64{batch} * heads_q * splits;
  const i64 float_bytes = sizeof(float);
  const i64 lse_begin = kMaxDecodeCounters * static_cast<i64>(sizeof(i32));
  const i64 o_begin = lse_begin + ceil_div(states * float_bytes, kWorkspaceAlignment) * kWorkspaceAlignment;
  return {.counters = 0,
          .partial_lse = lse_begin,
          .partial_o = o_begin,
          .bytes = o_begin + states * head_dim_v * float_bytes};
}

}  // namespace kiln::device
