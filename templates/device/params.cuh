// The structs that the host fills and a kernel reads. Compiled by NVRTC and by the host's compiler:
// plain types only, sizes asserted on both sides.
#pragma once

namespace kiln::device {

using i32 = int;
using i64 = long long;
using u32 = unsigned int;

/// Distances in elements.
struct Strides {
  i64 batch;
  i64 row;
  i64 head;
};

/// Query heads of one KV head as neighbouring rows: row r is head r % count of query r / count.
struct HeadPack {
  u32 count;    ///< 1: a row is a query
  u32 inverse;  ///< ⌈2³¹ / count⌉
};

struct ForwardParams {
  const void* q{};
  const void* k{};
  const void* v{};
  void* o{};
  float* lse{};  ///< [batch, heads_q, len_q], or packed [heads_q, total_q], or null
  Strides q_strides{};
  Strides k_strides{};  ///< of pages: batch is from page to page
  Strides v_strides{};
  Strides o_strides{};
  const i32* cu_seqlens_q{};  ///< [batch + 1] or null: then sequences lie strides.batch apart
  const i32* cu_seqlens_k{};
  const i32* seqused_q{};  ///< [batch] or null
  const i32* seqused_k{};
  const i32* page_table{};
  i64 page_table_stride{};      ///< from sequence to sequence
  const float* alibi_slopes{};  ///< [heads_q], or [batch, heads_q]
  i64 alibi_batch_stride{};
  const float* sinks{};  ///< [heads_q]
  const void* bias{};
  Strides bias_strides{};
  i32 batch{};
  i32 heads_q{};
  i32 heads_kv{};
  i32 group{};  ///< heads_q / heads_kv
  i32 len_q{};  ///< the most, where sequences have lengths of their own
  i32 len_k{};
  i32 total_q{};       ///< rows of the packed tensors of q and o
  i32 window_left{};   ///< −1: open
  i32 window_right{};  ///< −1: open
  i32 page_size{};
  float scale_log2{};     ///< scale · log2(e)
  float softcap_log2{};   ///< cap · log2(e)
  float inverse_cap{};    ///< 1 / (cap · log2(e)): of a scaled score, the argument of tanh
  float lse_unit{};       ///< of a logarithm to base 2, the LSE as asked for
  i32 bundle{};           ///< ForwardSchedule's
  i32 row_tiles{};        ///< ForwardSchedule's
  HeadPack heads{};
};
static_assert(sizeof(ForwardParams) == 312);

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
