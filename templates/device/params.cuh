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

/// How many keys a page holds, and what divides by it (page_size.cuh).
struct PageSize {
  u32 keys;
  u32 inverse;  ///< ⌊2³² / keys⌋, of 1 the largest number
};

/// What every attention kernel is called with.
struct AttentionParams {
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
  i32 total_q{};         ///< rows of the packed tensors of q and o
  i32 window_left{};     ///< −1: open
  i32 window_right{};    ///< −1: open
  float scale_log2{};    ///< scale · log2(e)
  float softcap_log2{};  ///< cap · log2(e)
  float inverse_cap{};   ///< 1 / (cap · log2(e)): of a scaled score, the argument of tanh
  float lse_unit{};      ///< of a logarithm to base 2, the LSE as asked for
  HeadPack heads{};
  PageSize page{};
};
static_assert(sizeof(AttentionParams) == 312);

struct ForwardParams : AttentionParams {
  i32 bundle{};     ///< ForwardSchedule's
  i32 row_tiles{};  ///< ForwardSchedule's
};
static_assert(sizeof(ForwardParams) == 320);

/// Where the cache of a sequence lies, where that isn't told by its place in the batch alone. Each is [batch] or null.
struct CacheParams {
  const i32* rows{};           ///< sequence b has row rows[b] of the cache, or of the page table; below 0: no keys
  const i32* left_padding{};   ///< positions in front that don't count
  const i32* page_indptr{};    ///< [batch + 1]: sequence b has pages table[indptr[b]] … table[indptr[b + 1] − 1]
  const i32* last_page_len{};  ///< with page_indptr: keys in the last of them
};

/// Which new tokens see each other: bit j % 32 of word j / 32 of query i tells whether it sees new token j.
struct TreeMask {
  const u32* words{};  ///< [batch, len_q, ⌈len_q / 32⌉] or null: the band alone decides
  i64 batch_stride{};  ///< in words
  i64 row_stride{};
};

/// How keys are shared out over blocks: decode_plan.cuh.
struct SplitParams {
  i32 groups{};       ///< blocks of one KV head
  i32 splits{};       ///< of a row tile's keys; 0: work is shared out evenly over the groups
  i32 split_tiles{};  ///< key tiles of a split; 0: a row tile's keys are cut into `splits` even parts
  i32 row_tiles{};    ///< that a sequence can have at most
  i32 share_cost{};   ///< what a share of keys takes beside its tiles, in tiles
};

/// The window's sides have the causal mask in them.
struct DecodeParams : AttentionParams {
  CacheParams cache{};
  TreeMask tree{};
  i32* counters{};         ///< workspace, zero between launches
  float* partial_o{};      ///< workspace: [part, heads_kv, rows of a tile, head_dim_v], times 2^−top
  float* partial_state{};  ///< workspace: [part, heads_kv, rows of a tile, 2]: top, and the weights' sum times 2^−top
  SplitParams split{};
  i32 alike{};         ///< 1: no sequence has a length of its own
  i32 simple_cache{};  ///< 1: `cache` holds null pointers only
  i32 align_top_left{};
  i32 full_depth{};  ///< tiles of a share under which copies run as far ahead as they can
};
static_assert(sizeof(DecodeParams) == 432);

}  // namespace kiln::device
