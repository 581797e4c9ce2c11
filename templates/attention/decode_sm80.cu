// Decode attention on mma.sync: few query tokens per sequence against a long cache of keys and values.
//
// Contract. The rows of a tile are the sequence's new tokens, each with all query heads of one KV head side by side. A
// block works through its shares of key tiles (decode_plan.cuh), which follow from the lengths on the device. Where
// several blocks share the keys of a row tile, the last one to finish merges all partial results, in the order of
// the keys, so results repeat bitwise. Cache rows at or beyond a sequence's length are never read. A row that sees no
// key gets o = 0 and lse = −inf (with a sink: the sink).
//
// Roles. Warps lie side by side along the rows, and along the keys of every tile; each keeps its own m, l and O. With
// one warp along the rows (up to 32 of them) a warp copies just the keys that it uses, and warps never wait for each
// other between the first tile and the last.
//
// Shared memory. K and V tiles go round kStages places:
//
//   step t:  wait for my copies of tile t → barrier of those who share its keys → start those of tile t + kStages − 1
//            → S = Q K[t]ᵀ → what changes scores → mask → softmax → O += P V[t]
//
// After the last tile the places are laid over with the warps' O, which all threads then merge.
//
// Workspace (decode_workspace.cuh). Counters, zero between launches: the release and acquire of an atomic add order the
// partial results before their reading. The merging block sets its counter back.
#include "default_config.cuh"
#include "device/base.cuh"
#include "device/decode_plan.cuh"
#include "device/element.cuh"
#include "device/fragment.cuh"
#include "device/mask.cuh"
#include "device/online_softmax.cuh"
#include "device/paged_rows.cuh"
#include "device/params.cuh"
#include "device/ptx.cuh"
#include "device/score.cuh"
#include "device/smem_plan.cuh"
#include "device/tile_copy.cuh"
#include "device/tile_schedule.cuh"
#include "device/warp_tile.cuh"

namespace kiln::device {

inline constexpr u32 kThreads = config::kWarps * kWarpSize;
inline constexpr DecodeWarps kWarpGrid = decode_warps(config::kHeadDimV, config::kTileM, config::kWarps);
inline constexpr i32 kWarpRows = config::kTileM / kWarpGrid.rows;
inline constexpr i32 kWarpKeys = config::kTileN / kWarpGrid.keys;  // whose scores a warp computes
inline constexpr i32 kCopyKeys = config::kTileN / config::kWarps;  // that a warp copies
inline constexpr i32 kRowBlocks = kWarpRows / kMmaM;
inline constexpr i32 kScoreBlocks = kWarpKeys / kMmaN;
inline constexpr i32 kOutputBlocks = config::kHeadDimV / kMmaN;
inline constexpr ScoreKind kScores{config::kSoftcap, config::kAlibi, config::kBiasAdditive, config::kBiasMask};

static_assert(kWarpGrid.rows * kWarpGrid.keys == config::kWarps && kWarpRows % kMmaM == 0);
static_assert(kWarpKeys % kMmaK == 0 && kWarpKeys > 0, "a warp's keys are whole k steps of P V");
static_assert(config::kHeadDimQk % kMmaN == 0 && config::kHeadDimV % kMmaN == 0);
static_assert(config::kStages >= 2, "the copy of one tile runs under the arithmetic of another");

using Walk = DecodeWalk<config::kTileM, config::kTileN>;

struct alignas(kSmemAlignment) Smem : PageSlots<config::kPaged, config::kWarps, kCopyKeys> {
  struct KeysValues {
    Element::Storage k[config::kStages][config::kTileN * kPaddedDimQk];
    Element::Storage v[config::kStages][config::kTileN * kPaddedDimV];
  };
  struct WarpStates {
    float o[kWarpGrid.keys][config::kTileM][config::kHeadDimV + kDecodeRowPad];
    float m[kWarpGrid.keys][config::kTileM];
    float l[kWarpGrid.keys][config::kTileM];
  };
  union {
    KeysValues kv;
    WarpStates state;
  };
  Element::Storage q[config::kTileM * kPaddedDimQk];
};
static_assert(sizeof(Smem) == config::kSmemBytes);
static_assert(sizeof(Smem) == decode_smem_bytes(config::kDType, config::kHeadDimQk, config::kHeadDimV, config::kTileM,
                                                config::kTileN, config::kStages, config::kWarps, config::kPaged));

using Scores = float[kRowBlocks][kScoreBlocks][kAccumulators];
using Output = float[kRowBlocks][kOutputBlocks][kAccumulators];
using Softmax = OnlineSoftmax<kRowBlocks>;

/// Q stays in registers where they hold it beside S, O and some 110 others; else it is read again for each tile.
inline constexpr i32 kTileRegisters =
    kRowBlocks * (kAccumulators * (kScoreBlocks + kOutputBlocks) + 4 * k_steps(config::kHeadDimQk, config::kDType));
inline constexpr i32 kRegisters = min(65536 / static_cast<i32>(kThreads * config::kCtasPerSm), 255);
inline constexpr bool kQInRegisters = kTileRegisters + 110 <= kRegisters;
using Queries = QueryRows<config::kHeadDimQk, kRowBlocks, kQInRegisters>;

/// The rows of a share, which are queries and heads, and where they lie in memory.
struct Rows {
  i32 batch;
  i32 kv_head;
  i32 begin;  // row of the sequence
  i32 count;  // ≤ kTileM
  i32 len_q;

  KILN_DEVICE Rows(const AttentionParams& p, const DecodeShare& share, i32 head)
      : batch(share.sequence.batch),
        kv_head(head),
        begin(share.row_tile * config::kTileM),
        count(min(config::kTileM, share.sequence.len_q * p.group - begin)),
        len_q(share.sequence.len_q) {}

  KILN_DEVICE i32 query(const AttentionParams& p, i32 row) const { return query_of_row(p.heads, begin + row); }
  KILN_DEVICE i32 head(const AttentionParams& p, i32 row) const {
    return kv_head * p.group + begin + row - query(p, row) * p.group;
  }
  /// Rows behind the last one stand in for it, so that nothing outside the tensors is read for them.
  KILN_DEVICE i32 existing(i32 row) const { return min(row, count - 1); }

  KILN_DEVICE i64 offset(const AttentionParams& p, const Strides& strides, i32 row) const {
    const SequenceRows queries{p.cu_seqlens_q, nullptr, 0};
    return queries.begin(batch, strides) + query(p, row) * strides.row + head(p, row) * strides.head;
  }
  KILN_DEVICE i64 lse_offset(const AttentionParams& p, i32 row) const {
    const bool packed = p.cu_seqlens_q != nullptr;
    const i64 first = packed ? p.cu_seqlens_q[batch] : i64{batch} * p.heads_q * p.len_q;
    return first + head(p, row) * i64{packed ? p.total_q : p.len_q} + query(p, row);
  }
};

/// The keys of a share.
struct Keys {
  const Element::Storage* k;  // key 0 of the sequence, or of page 0
  const Element::Storage* v;
  const i32* pages;  // of the sequence
  i32 padding;       // in front of key 0, with pages
  i32 len;
  TileRange tiles;
  Band band;
  KeyRange seen_by_all;  // keys that every row of the tile sees
  i32 delta;             // query i stands at key i + delta

  KILN_DEVICE Keys(const DecodeParams& p, const DecodeShare& share, const Rows& rows)
      : k(static_cast<const Element::Storage*>(p.k) + rows.kv_head * p.k_strides.head),
        v(static_cast<const Element::Storage*>(p.v) + rows.kv_head * p.v_strides.head),
        pages(nullptr),
        padding(left_padding_of(p.cache, rows.batch)),
        len(share.sequence.len_k),
        band(decode_band(p, rows.len_q, len)),
        delta(p.align_top_left != 0 ? 0 : len - rows.len_q) {
    const i64 row = max(cache_row_of(p.cache, rows.batch), 0);
    if constexpr (config::kPaged) {
      pages =
          p.page_table + (p.cache.page_indptr != nullptr ? p.cache.page_indptr[rows.batch] : row * p.page_table_stride);
    } else {
      k += row * p.k_strides.batch + padding * p.k_strides.row;
      v += row * p.v_strides.batch + padding * p.v_strides.row;
    }
    const i32 first = rows.query(p, 0);
    const i32 last = rows.query(p, rows.count - 1);
    const TileRange seen = tile_range(band, first, last, config::kTileN);
    tiles = {max(share.tiles.begin, seen.begin), min(share.tiles.end, seen.end)};
    seen_by_all = band.of_all_rows(first, last);
  }
};

/// The way of one warp through the tiles of a share.
class Consumer {
 public:
  KILN_DEVICE Consumer(const DecodeParams& p, const Rows& rows, const Keys& keys, Smem& smem, u32 thread)
      : p_(p),
        rows_(rows),
        keys_(keys),
        smem_(smem),
        warp_(static_cast<i32>(thread / kWarpSize)),
        lane_(thread % kWarpSize),
        next_(keys.tiles.begin) {
    look_up_page();
  }

  KILN_DEVICE i32 warp_row() const { return warp_ % kWarpGrid.rows * kWarpRows; }
  KILN_DEVICE i32 key_warp() const { return warp_ / kWarpGrid.rows; }

  /// Copies this warp's keys of the next tile of the share: one commit group, empty at the end.
  KILN_DEVICE void start_next_copy() {
    if (next_ < keys_.tiles.end) {
      const i32 first_key = first_copied_key();
      const i32 valid = keys_.len - first_key;
      const u32 k = ptx::cvta_to_shared(smem_.kv.k[copy_stage_] + warp_ * kCopyKeys * kPaddedDimQk);
      const u32 v = ptx::cvta_to_shared(smem_.kv.v[copy_stage_] + warp_ * kCopyKeys * kPaddedDimV);
      copy(k, v, first_key, valid, smem_);
    }
    ptx::cp_async_commit_group();
    ++next_;
    copy_stage_ = following(copy_stage_);
    look_up_page();
  }

  KILN_DEVICE void run(const Queries& q, Softmax& softmax, float scale, Output& o) {
    const LdmatrixLane k_lane = ldmatrix_chunks_first(lane_);
    const LdmatrixLane v_lane = ldmatrix_rows_first(lane_);
    i32 stage = 0;
#pragma unroll 1
    for (i32 t = keys_.tiles.begin; t < keys_.tiles.end; ++t) {
      ptx::cp_async_wait_group<config::kStages - 2>();
      if constexpr (kWarpGrid.rows == 1) {
        __syncwarp();
      } else {
        __syncthreads();
      }
      start_next_copy();
      const i32 first_key = t * config::kTileN + key_warp() * kWarpKeys;
      Scores s;
      multiply_qk(s, q,
                  BlockAddresses<kChunksQk>(
                      ptx::cvta_to_shared(smem_.kv.k[stage] + key_warp() * kWarpKeys * kPaddedDimQk), k_lane));
      if constexpr (kScores.changes_scores()) {
        change_scores<kScores>(s, p_, scale, lane_, first_key, keys_.len,
                               [&](i32 b, i32 r) { return score_row(row_of(b, r)); });
      }
      if (first_key < keys_.seen_by_all.begin || first_key + kWarpKeys > keys_.seen_by_all.end) {
        apply_mask<true>(s, lane_, first_key,
                         [&](i32 b, i32 r) { return keys_.band.limits_of_row(rows_.query(p_, row_of(b, r))); });
      }
      if (p_.tree.words != nullptr && first_key + kWarpKeys > keys_.len - rows_.len_q)
        hide_other_branches(s, first_key);
      softmax.update(s, o);
      multiply_pv(o, s,
                  BlockAddresses<kChunksV>(
                      ptx::cvta_to_shared(smem_.kv.v[stage] + key_warp() * kWarpKeys * kPaddedDimV), v_lane));
      stage = following(stage);
    }
    softmax.finish();
  }

  /// Lays the warp's state where all threads can read it.
  KILN_DEVICE void publish(const Softmax& softmax, const Output& o) const {
#pragma unroll
    for (i32 b = 0; b < kRowBlocks; ++b) {
#pragma unroll
      for (i32 r = 0; r < kRowsPerLane; ++r) {
        const i32 row = row_of(b, r);
        if (lane_ % kQuad == 0) {
          smem_.state.m[key_warp()][row] = softmax.m[b][r];
          smem_.state.l[key_warp()][row] = softmax.l[b][r];
        }
        write_row(smem_.state.o[key_warp()][row], o[b], r, 1.0f, lane_);
      }
    }
  }

 private:
  KILN_DEVICE static i32 following(i32 stage) { return stage + 1 == config::kStages ? 0 : stage + 1; }
  KILN_DEVICE i32 first_copied_key() const { return next_ * config::kTileN + warp_ * kCopyKeys; }

  /// Row in the tile of the lane's row r of block b.
  KILN_DEVICE i32 row_of(i32 b, i32 r) const {
    return warp_row() + b * kMmaM + accumulator_coordinate(lane_, r * kRowsPerLane).row;
  }

  KILN_DEVICE ScoreRow score_row(i32 row) const {
    const i32 existing = rows_.existing(row);
    return make_score_row<kScores>(p_, rows_.batch, rows_.head(p_, existing), rows_.query(p_, existing), keys_.delta);
  }

  /// Shared is Smem, which has slots only with pages: hence a template.
  template <class Shared>
  KILN_DEVICE void copy(u32 k, u32 v, i32 first_key, i32 valid, Shared& smem) {
    using KeyCopy = TileCopy<kCopyKeys, config::kHeadDimQk, kWarpSize>;
    using ValueCopy = TileCopy<kCopyKeys, config::kHeadDimV, kWarpSize>;
    if constexpr (config::kPaged) {
      auto& slot = smem.slot(static_cast<u32>(warp_));
      __syncwarp();  // the last copy has read its rows
#pragma unroll
      for (i32 i = 0; i < kLookUps; ++i) {
        const i32 row = static_cast<i32>(lane_) + i * static_cast<i32>(kWarpSize);
        if (row < min(valid, kCopyKeys)) slot.put(p_, row, keys_.padding + first_key + row, page_[i]);
      }
      __syncwarp();
      KeyCopy::load_rows(k, valid, lane_, [&](i32 row) { return keys_.k + slot.k[row]; });
      ValueCopy::load_rows(v, valid, lane_, [&](i32 row) { return keys_.v + slot.v[row]; });
    } else {
      // A warp whose keys all lie beyond the end must not form their address.
      const i64 row = valid > 0 ? first_key : 0;
      KeyCopy::load(k, keys_.k + row * p_.k_strides.row, p_.k_strides.row, valid, lane_);
      ValueCopy::load(v, keys_.v + row * p_.v_strides.row, p_.v_strides.row, valid, lane_);
    }
  }

  /// Reads the pages of the keys that the next copy is of, early enough for it not to wait.
  KILN_DEVICE void look_up_page() {
    if constexpr (config::kPaged) {
      const i32 first_key = first_copied_key();
#pragma unroll
      for (i32 i = 0; i < kLookUps; ++i) {
        const i32 row = static_cast<i32>(lane_) + i * static_cast<i32>(kWarpSize);
        const i32 key = first_key + row;
        if (next_ < keys_.tiles.end && row < kCopyKeys && key < keys_.len) {
          page_[i] = keys_.pages[PagedRows<kCopyKeys>::page_of(p_, keys_.padding + key)];
        }
      }
    }
  }

  /// Hides the new tokens that a row's query does not descend from.
  KILN_DEVICE void hide_other_branches(Scores& s, i32 first_key) const {
#pragma unroll
    for (i32 b = 0; b < kRowBlocks; ++b) {
#pragma unroll
      for (i32 r = 0; r < kRowsPerLane; ++r) {
        const i32 query = rows_.query(p_, rows_.existing(row_of(b, r)));
        const u32* words = p_.tree.words + rows_.batch * p_.tree.batch_stride + query * p_.tree.row_stride;
        const i32 first_token = first_key - (keys_.len - rows_.len_q) + accumulator_coordinate(lane_, 0).column;
#pragma unroll
        for (i32 n = 0; n < kScoreBlocks; ++n) {
#pragma unroll
          for (i32 i = 0; i < kRowsPerLane; ++i) {
            const i32 token = first_token + n * kMmaN + i;
            if (token < 0 || token >= rows_.len_q) continue;
            if ((words[token / 32] >> (token % 32) & 1) == 0) s[b][n][kRowsPerLane * r + i] = kMinusInf;
          }
        }
      }
    }
  }

  static constexpr i32 kLookUps = ceil_div(kCopyKeys, static_cast<i32>(kWarpSize));

  const DecodeParams& p_;
  const Rows& rows_;
  const Keys& keys_;
  Smem& smem_;
  i32 warp_;
  u32 lane_;
  i32 next_;
  i32 copy_stage_ = 0;
  i32 page_[config::kPaged ? kLookUps : 1];
};

inline constexpr i32 kVector = 4;  // fp32 columns that a thread merges at a time
struct alignas(kVector * sizeof(float)) Vector {
  float x[kVector];
};
struct alignas(kVector* Element::kBytes) PackedVector {
  u32 pairs[kVector / 2];
};

/// A piece of one row of O, and the row's LSE in base 2 (−inf: no key, O is 0).
struct Piece {
  Vector o;
  float lse;
};

/// o / weight and its LSE, where o and weight are sums of terms times 2^−top.
KILN_DEVICE Piece normalised(Vector o, float weight, float top) {
  const float inverse = weight == 0.0f ? 0.0f : ptx::rcp_approx_ftz_f32(weight);
#pragma unroll
  for (i32 i = 0; i < kVector; ++i) o.x[i] *= inverse;
  return {o, weight == 0.0f ? kMinusInf : top + ptx::lg2_approx_ftz_f32(weight)};
}

KILN_DEVICE void add_scaled(Vector& sum, const Vector& x, float weight) {
#pragma unroll
  for (i32 i = 0; i < kVector; ++i) sum.x[i] += weight * x.x[i];
}

/// Columns column … column + 3 of a row, over all warps along the keys.
KILN_DEVICE Piece merge_warps(const Smem& smem, i32 row, i32 column, float scale) {
  float top = kBeforeKeys;
#pragma unroll
  for (i32 w = 0; w < kWarpGrid.keys; ++w) top = max(top, smem.state.m[w][row]);
  Vector o{};
  float weight = 0;
#pragma unroll
  for (i32 w = 0; w < kWarpGrid.keys; ++w) {
    const float factor = ptx::ex2_approx_ftz_f32((smem.state.m[w][row] - top) * scale);
    weight += factor * smem.state.l[w][row];
    add_scaled(o, *reinterpret_cast<const Vector*>(&smem.state.o[w][row][column]), factor);
  }
  return normalised(o, weight, top * scale);
}

/// Row of the partial results where row `row` of the tile lies, of a part of a row tile.
KILN_DEVICE i32 partial_row(const DecodeParams& p, const Rows& rows, i32 place, i32 row) {
  return (place * p.heads_kv + rows.kv_head) * config::kTileM + row;
}

/// What all parts of a row have in common: the largest LSE, and the sum of the parts' weights over it.
struct PartsOfRow {
  float top;
  float weight;
};

/// A lane looks at every 32nd part.
KILN_DEVICE PartsOfRow weigh_parts(const DecodeParams& p, const Rows& rows, const DecodeShare& share, i32 row,
                                   u32 lane) {
  const auto lse_of = [&](i32 part) { return p.partial_lse[partial_row(p, rows, share.place(part), row)]; };
  const i32 first = static_cast<i32>(lane);
  float top = kBeforeKeys;
#pragma unroll 1
  for (i32 part = first; part < share.parts; part += kWarpSize) top = max(top, lse_of(part));
  top = warp_max(top);
  float weight = 0;
#pragma unroll 1
  for (i32 part = first; part < share.parts; part += kWarpSize) weight += ptx::ex2_approx_ftz_f32(lse_of(part) - top);
  return {top, warp_sum(weight)};
}

/// Columns column … column + 3 of a row, over all its parts in their order.
KILN_DEVICE Piece merge_parts(const DecodeParams& p, const Rows& rows, const DecodeShare& share, PartsOfRow all,
                              i32 row, i32 column) {
  Vector sum{};
#pragma unroll 8
  for (i32 part = 0; part < share.parts; ++part) {
    const i64 at = partial_row(p, rows, share.place(part), row);
    const auto* o = reinterpret_cast<const Vector*>(p.partial_o + at * config::kHeadDimV + column);
    add_scaled(sum, *o, ptx::ex2_approx_ftz_f32(p.partial_lse[at] - all.top));
  }
  return normalised(sum, all.weight, all.top);
}

/// Calls f(row, column) for every piece of the tile's rows, shared out over the threads.
template <class F>
KILN_DEVICE void for_pieces(i32 rows, u32 thread, F f) {
  constexpr u32 kPerRow = config::kHeadDimV / kVector;
  for (u32 piece = thread; piece < static_cast<u32>(rows) * kPerRow; piece += kThreads) {
    f(static_cast<i32>(piece / kPerRow), static_cast<i32>(piece % kPerRow) * kVector);
  }
}

/// A sink is a key with a value of 0.
KILN_DEVICE void add_sink(Piece& piece, float sink_log2) {
  const float top = fmaxf(piece.lse, sink_log2);
  const float keys = ptx::ex2_approx_ftz_f32(piece.lse - top);
  const float weight = keys + ptx::ex2_approx_ftz_f32(sink_log2 - top);
  const float factor = keys * ptx::rcp_approx_ftz_f32(weight);
#pragma unroll
  for (i32 i = 0; i < kVector; ++i) piece.o.x[i] *= factor;
  piece.lse = top + ptx::lg2_approx_ftz_f32(weight);
}

KILN_DEVICE void write_result(const AttentionParams& p, const Rows& rows, i32 row, i32 column, Piece piece) {
  if (p.sinks != nullptr) add_sink(piece, p.sinks[rows.head(p, row)] * kLog2E);
  const i64 o = rows.offset(p, p.o_strides, row) + column;
  const float(&x)[kVector] = piece.o.x;
  if constexpr (kFloatOutput) {
    *reinterpret_cast<Vector*>(static_cast<float*>(p.o) + o) = piece.o;
  } else {
    *reinterpret_cast<PackedVector*>(static_cast<Element::Storage*>(p.o) + o) = {Element::pack(x[0], x[1]),
                                                                                 Element::pack(x[2], x[3])};
  }
  if (p.lse != nullptr && column == 0) p.lse[rows.lse_offset(p, row)] = piece.lse * p.lse_unit;
}

/// True in all threads of the last block of a row tile to come here; it then sees what the others wrote before.
KILN_DEVICE bool arrive_last(const DecodeParams& p, const Rows& rows, const DecodeShare& share, u32 thread) {
  i32* counter = p.counters + i64{share.counter} * p.heads_kv + rows.kv_head;
  __syncthreads();  // all threads' partial results come before thread 0's release
  bool last = false;
  if (thread == 0) {
    last = ptx::atom_add_acq_rel_gpu(counter, 1) == share.parts - 1;
    if (last) *counter = 0;
  }
  return __syncthreads_or(last) != 0;
}

/// Writes what the warps have found, or leaves it for the last block of the row tile, which merges all.
KILN_DEVICE void finish_share(const DecodeParams& p, const Rows& rows, const DecodeShare& share, Smem& smem,
                              float scale, u32 thread) {
  for_pieces(rows.count, thread, [&](i32 row, i32 column) {
    const Piece piece = merge_warps(smem, row, column, scale);
    if (share.parts == 1) {
      write_result(p, rows, row, column, piece);
      return;
    }
    const i64 at = partial_row(p, rows, share.place(share.part), row);
    *reinterpret_cast<Vector*>(p.partial_o + at * config::kHeadDimV + column) = piece.o;
    if (column == 0) p.partial_lse[at] = piece.lse;
  });
  if (share.parts == 1 || !arrive_last(p, rows, share, thread)) return;
#pragma unroll 1
  for (i32 row = static_cast<i32>(thread / kWarpSize); row < rows.count; row += config::kWarps) {
    const PartsOfRow all = weigh_parts(p, rows, share, row, thread % kWarpSize);
    if (thread % kWarpSize != 0) continue;
    smem.state.m[0][row] = all.top;
    smem.state.l[0][row] = all.weight;
  }
  __syncthreads();
  for_pieces(rows.count, thread, [&](i32 row, i32 column) {
    const PartsOfRow all{smem.state.m[0][row], smem.state.l[0][row]};
    write_result(p, rows, row, column, merge_parts(p, rows, share, all, row, column));
  });
}

KILN_DEVICE void work_on(const DecodeParams& p, const DecodeShare& share, i32 kv_head, Smem& smem, u32 thread) {
  const Rows rows(p, share, kv_head);
  // Q, a group of its own, is on its way before the first keys.
  using QueryCopy = TileCopy<config::kTileM, config::kHeadDimQk, kThreads>;
  const auto* const q_data = static_cast<const Element::Storage*>(p.q);
  QueryCopy::load_rows(ptx::cvta_to_shared(smem.q), rows.count, thread,
                       [&](i32 row) { return q_data + rows.offset(p, p.q_strides, row); });
  ptx::cp_async_commit_group();
  const Keys keys(p, share, rows);
  Consumer consumer(p, rows, keys, smem, thread);
#pragma unroll 1
  for (i32 ahead = 0; ahead < config::kStages - 1; ++ahead) consumer.start_next_copy();
  ptx::cp_async_wait_group<config::kStages - 1>();
  const ScoreScale scale(p.scale_log2);
  if (scale.negate_q) QueryCopy::negate(smem.q, thread);
  __syncthreads();

  const Queries q(ptx::cvta_to_shared(smem.q + consumer.warp_row() * kPaddedDimQk), thread % kWarpSize);
  const float softmax_scale = kScores.scales_scores() ? 1.0f : scale.magnitude;
  Softmax softmax(softmax_scale);
  Output o{};
  consumer.run(q, softmax, scale.magnitude, o);

  __syncthreads();  // every warp has read its last keys
  consumer.publish(softmax, o);
  __syncthreads();
  finish_share(p, rows, share, smem, softmax_scale, thread);
}

}  // namespace kiln::device

extern "C" __global__ void __launch_bounds__(kiln::device::kThreads, kiln::config::kCtasPerSm)
    kiln_decode(const __grid_constant__ kiln::device::DecodeParams p) {
  using namespace kiln::device;
  alignas(kSmemAlignment) extern __shared__ unsigned char smem_bytes[];
  Smem& smem = *reinterpret_cast<Smem*>(smem_bytes);
  const u32 thread = threadIdx.x;
  const u32 heads_kv = static_cast<u32>(p.heads_kv);
  const i32 kv_head = static_cast<i32>(blockIdx.x % heads_kv);
  Walk walk(p, static_cast<i32>(blockIdx.x / heads_kv), thread % kWarpSize);
  DecodeShare share;
#pragma unroll 1
  while (walk.next(share)) {
    work_on(p, share, kv_head, smem, thread);
    __syncthreads();  // the next share's copies take the place of what has been merged
  }
}
