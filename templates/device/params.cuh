// The structs that the host fills and a kernel reads. Compiled by NVRTC and by the host's compiler:
// plain types only, sizes asserted on both sides.
#pragma once

namespace kiln::device {

using i32 = int;
using i64 = long long;

/// Distances in elements.
struct Strides {
  i64 batch;
  i64 row;
  i64 head;
};

struct ForwardParams {
  const void* q;
  const void* k;
  const void* v;
  void* o;
  float* lse;  ///< [batch, heads_q, len_q] or null
  Strides q_strides;
  Strides k_strides;
  Strides v_strides;
  Strides o_strides;
  i32 batch;
  i32 heads_q;
  i32 heads_kv;
  i32 group;  ///< heads_q / heads_kv
  i32 len_q;
  i32 len_k;
  i32 window_left;   ///< −1: open
  i32 window_right;  ///< −1: open
  float scale_log2;  ///< scale · log2(e)
  i32 bundle;        ///< ForwardSchedule's
};
static_assert(sizeof(ForwardParams) == 176);

struct DecodeParams {
  const void* q;
  const void* k;
  const void* v;
  void* o;
  float* lse;          ///< [batch, heads_q] or null
  const i32* lengths;  ///< [batch] or null: all max_len_k
  i32* counters;       ///< workspace: [batch, heads_kv, row tiles], zero between launches
  float* partial_o;    ///< workspace: [batch, heads_q, splits, head_dim_v]
  float* partial_lse;  ///< workspace: [batch, heads_q, splits], base 2
  Strides q_strides;
  Strides k_strides;
  Strides v_strides;
  Strides o_strides;
  i32 batch;
  i32 heads_q;
  i32 heads_kv;
  i32 group;
  i32 max_len_k;
  i32 splits;
  i32 window_left;  ///< −1: open
  float scale_log2;
};
static_assert(sizeof(DecodeParams) == 200);

}  // namespace kiln::device
