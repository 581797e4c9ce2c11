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
// other between the first tile of a share and the last.
//
// Shared memory. K and V tiles go round kStages places. Copies run kStages − 1 tiles ahead, from one share into the
// next, so that merging a share's results and finding the next one's lengths don't stop the stream of keys:
//
//   step t:  wait for my copies of tile t → barrier of those who share its keys → start those of tile t + kStages − 1
//            → S = Q K[t]ᵀ → what changes scores → mask → softmax → O += P V[t]
//
// After the last tile of a share its place, the only one that no copy is under way to, is laid over with the warps' O,
// which all threads then merge.
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
#include "device/swizzle.cuh"
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
inline constexpr DecodePlaces kPlaces(config::kDType, config::kHeadDimQk, config::kHeadDimV, config::kTileM,
                                      config::kTileN, config::kStages, config::kWarps);

using Scores = float[kRowBlocks][kScoreBlocks][kAccumulators];
using Output = float[kRowBlocks][kOutputBlocks][kAccumulators];
using Softmax = OnlineSoftmax<kRowBlocks>;
/// O in floats, in shared memory.
using OutputTile = SwizzledTile<config::kHeadDimV* static_cast<i32>(sizeof(float)) / kChunkBytes>;

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
        band(share.sequence.band),
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

/// All that is known of a share.
struct alignas(kDecodeWorkBytes / 3) Work {
  DecodeShare share;
  Rows rows;
  Keys keys;

  KILN_DEVICE Work(const DecodeParams& p, const DecodeShare& given, i32 kv_head)
      : share(given), rows(p, given, kv_head), keys(p, given, rows) {}
};
static_assert(sizeof(Work) == kDecodeWorkBytes);

/// K and V of a tile.
struct Place {
  Element::Storage k[config::kTileN * kPaddedDimQk];
  Element::Storage v[config::kTileN * kPaddedDimV];
};
static_assert(sizeof(Place) == kPlaces.place);

struct alignas(kSmemAlignment) Smem : PageSlots<config::kPaged, config::kWarps, kCopyKeys> {
  unsigned char places[kPlaces.bytes()];
  Element::Storage q[kDecodeQueries][config::kTileM * kPaddedDimQk];
  float m[kWarpGrid.keys][config::kTileM];
  float l[kWarpGrid.keys][config::kTileM];
  alignas(Work) unsigned char works[kDecodeWorks][kDecodeWorkBytes];

  KILN_DEVICE Place& place(i32 stage) { return reinterpret_cast<Place*>(places)[stage]; }
  /// O of the warps along the keys, while the place `free` holds nothing.
  KILN_DEVICE unsigned char* output(i32 free) {
    return places + (kPlaces.output_has_own() ? config::kStages : free) * kPlaces.place;
  }
  KILN_DEVICE Work& work(i32 index) { return *reinterpret_cast<Work*>(works[index % kDecodeWorks]); }
};
static_assert(sizeof(Smem) == config::kSmemBytes);
static_assert(sizeof(Smem) == decode_smem_bytes(config::kDType, config::kHeadDimQk, config::kHeadDimV, config::kTileM,
                                                config::kTileN, config::kStages, config::kWarps, config::kPaged));

using QueryCopy = TileCopy<config::kTileM, config::kHeadDimQk, kThreads>;

KILN_DEVICE i32 following(i32 stage) { return stage + 1 == config::kStages ? 0 : stage + 1; }
KILN_DEVICE i32 preceding(i32 stage) { return stage == 0 ? config::kStages - 1 : stage - 1; }

/// The copies of one warp, from share to share.
class Producer {
 public:
  KILN_DEVICE Producer(const DecodeParams& p, Smem& smem, i32 kv_head, i32 group, u32 thread)
      : p_(p), smem_(smem), kv_head_(kv_head), thread_(thread), walk_(p, group, thread % kWarpSize) {}

  /// Shares that have been begun.
  KILN_DEVICE i32 begun() const { return begun_; }

  /// Starts the copy of the next share's Q, and says in shared memory what is to be copied and done for it. False:
  /// there is none.
  KILN_DEVICE bool begin_share() {
    DecodeShare share;
    if (!walk_.next(share)) return false;
    const Work work(p_, share, kv_head_);
    const auto* const q = static_cast<const Element::Storage*>(p_.q);
    QueryCopy::load_rows(ptx::cvta_to_shared(smem_.q[begun_ % kDecodeQueries]), work.rows.count, thread_,
                         [&](i32 row) { return q + work.rows.offset(p_, p_.q_strides, row); });
    if (thread_ == 0) smem_.work(begun_) = work;
    ++begun_;
    return true;
  }

  /// Copies this warp's keys of the next tile of the shares begun: one commit group, empty if there is none.
  KILN_DEVICE void start_next() {
    if (next_ >= end_ && entered_ < begun_) enter(smem_.work(entered_++).keys);
    if (next_ < end_) {
      copy(smem_);
      ++next_;
      stage_ = following(stage_);
      look_up_pages();
    } else {
      ++missing_;
    }
    ptx::cp_async_commit_group();
  }

  /// Copies that could not be started when they should have been.
  KILN_DEVICE void catch_up() {
    i32 left = missing_;
    missing_ = 0;
#pragma unroll 1
    for (; left > 0; --left) start_next();
  }

 private:
  KILN_DEVICE i32 warp() const { return static_cast<i32>(thread_ / kWarpSize); }
  KILN_DEVICE u32 lane() const { return thread_ % kWarpSize; }

  KILN_DEVICE void enter(const Keys& keys) {
    k_ = keys.k;
    v_ = keys.v;
    pages_ = keys.pages;
    padding_ = keys.padding;
    len_ = keys.len;
    next_ = keys.tiles.begin;
    end_ = keys.tiles.end;
    look_up_pages();
  }

  KILN_DEVICE i32 first_key() const { return next_ * config::kTileN + warp() * kCopyKeys; }

  /// Shared is Smem, which has slots only with pages: hence a template.
  template <class Shared>
  KILN_DEVICE void copy(Shared& smem) {
    using KeyCopy = TileCopy<kCopyKeys, config::kHeadDimQk, kWarpSize>;
    using ValueCopy = TileCopy<kCopyKeys, config::kHeadDimV, kWarpSize>;
    const u32 k = ptx::cvta_to_shared(smem.place(stage_).k + warp() * kCopyKeys * kPaddedDimQk);
    const u32 v = ptx::cvta_to_shared(smem.place(stage_).v + warp() * kCopyKeys * kPaddedDimV);
    const i32 first = first_key();
    const i32 valid = len_ - first;
    if constexpr (config::kPaged) {
      auto& slot = smem.slot(static_cast<u32>(warp()));
      __syncwarp();  // the last copy has read its rows
#pragma unroll
      for (i32 i = 0; i < kLookUps; ++i) {
        const i32 row = static_cast<i32>(lane()) + i * static_cast<i32>(kWarpSize);
        if (row < min(valid, kCopyKeys)) slot.put(p_, row, padding_ + first + row, page_[i]);
      }
      __syncwarp();
      KeyCopy::load_rows(k, valid, lane(), [&](i32 row) { return k_ + slot.k[row]; });
      ValueCopy::load_rows(v, valid, lane(), [&](i32 row) { return v_ + slot.v[row]; });
    } else {
      // A warp whose keys all lie beyond the end must not form their address.
      const i64 row = valid > 0 ? first : 0;
      KeyCopy::load(k, k_ + row * p_.k_strides.row, p_.k_strides.row, valid, lane());
      ValueCopy::load(v, v_ + row * p_.v_strides.row, p_.v_strides.row, valid, lane());
    }
  }

  /// Reads the pages of the keys that the next copy is of, early enough for it not to wait.
  KILN_DEVICE void look_up_pages() {
    if constexpr (config::kPaged) {
#pragma unroll
      for (i32 i = 0; i < kLookUps; ++i) {
        const i32 row = static_cast<i32>(lane()) + i * static_cast<i32>(kWarpSize);
        const i32 key = first_key() + row;
        if (next_ < end_ && row < kCopyKeys && key < len_) {
          page_[i] = pages_[PagedRows<kCopyKeys>::page_of(p_, padding_ + key)];
        }
      }
    }
  }

  static constexpr i32 kLookUps = ceil_div(kCopyKeys, static_cast<i32>(kWarpSize));

  const DecodeParams& p_;
  Smem& smem_;
  i32 kv_head_;
  u32 thread_;
  Walk walk_;
  i32 begun_ = 0;
  i32 entered_ = 0;                    // shares whose keys are or have been copied
  i32 missing_ = config::kStages - 1;  // copies to be caught up with
  i32 stage_ = 0;                      // of the next tile
  i32 next_ = 0;                       // tile of the share entered last
  i32 end_ = 0;
  const Element::Storage* k_ = nullptr;
  const Element::Storage* v_ = nullptr;
  const i32* pages_ = nullptr;
  i32 padding_ = 0;
  i32 len_ = 0;
  i32 page_[config::kPaged ? kLookUps : 1];
};

/// The way of one warp through the tiles of a share.
class Consumer {
 public:
  KILN_DEVICE Consumer(const DecodeParams& p, const Work& work, Smem& smem, u32 thread)
      : p_(p),
        rows_(work.rows),
        keys_(work.keys),
        smem_(smem),
        warp_(static_cast<i32>(thread / kWarpSize)),
        lane_(thread % kWarpSize) {}

  KILN_DEVICE i32 warp_row() const { return warp_ % kWarpGrid.rows * kWarpRows; }
  KILN_DEVICE i32 key_warp() const { return warp_ / kWarpGrid.rows; }

  KILN_DEVICE void run(Producer& producer, i32& stage, const Queries& q, Softmax& softmax, float scale, Output& o) {
    const LdmatrixLane k_lane = ldmatrix_chunks_first(lane_);
    const LdmatrixLane v_lane = ldmatrix_rows_first(lane_);
    const i32 tiles_end = keys_.tiles.end;
#pragma unroll 1
    for (i32 t = keys_.tiles.begin; t < tiles_end; ++t) {
      ptx::cp_async_wait_group<config::kStages - 2>();
      if constexpr (kWarpGrid.rows == 1) {
        __syncwarp();
      } else {
        __syncthreads();
      }
      producer.start_next();
      const i32 first_key = t * config::kTileN + key_warp() * kWarpKeys;
      const Place& place = smem_.place(stage);
      Scores s;
      multiply_qk(
          s, q,
          BlockAddresses<kChunksQk>(ptx::cvta_to_shared(place.k + key_warp() * kWarpKeys * kPaddedDimQk), k_lane));
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
      multiply_pv(
          o, s, BlockAddresses<kChunksV>(ptx::cvta_to_shared(place.v + key_warp() * kWarpKeys * kPaddedDimV), v_lane));
      stage = following(stage);
    }
    softmax.finish();
  }

  /// Lays the warp's state where all threads can read it.
  KILN_DEVICE void publish(const Softmax& softmax, const Output& o, unsigned char* output) const {
#pragma unroll
    for (i32 b = 0; b < kRowBlocks; ++b) {
#pragma unroll
      for (i32 r = 0; r < kRowsPerLane; ++r) {
        const i32 row = row_of(b, r);
        if (lane_ % kQuad == 0) {
          smem_.m[key_warp()][row] = softmax.m[b][r];
          smem_.l[key_warp()][row] = softmax.l[b][r];
        }
        lay_floats(output + key_warp() * config::kTileM * OutputTile::kRowBytes, row, o[b], r, lane_);
      }
    }
  }

 private:
  /// Row in the tile of the lane's row r of block b.
  KILN_DEVICE i32 row_of(i32 b, i32 r) const {
    return warp_row() + b * kMmaM + accumulator_coordinate(lane_, r * kRowsPerLane).row;
  }

  KILN_DEVICE ScoreRow score_row(i32 row) const {
    const i32 existing = rows_.existing(row);
    return make_score_row<kScores>(p_, rows_.batch, rows_.head(p_, existing), rows_.query(p_, existing), keys_.delta);
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

  const DecodeParams& p_;
  const Rows& rows_;
  const Keys& keys_;
  Smem& smem_;
  i32 warp_;
  u32 lane_;
};

inline constexpr i32 kVector = 4;  // fp32 columns that a thread merges at a time
struct alignas(kVector * sizeof(float)) Vector {
  float x[kVector];
};
static_assert(sizeof(Vector) == kChunkBytes);
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

/// Columns column … column + 3 of a row, over all warps along the keys, whose O is in `output`.
KILN_DEVICE Piece merge_warps(const Smem& smem, const unsigned char* output, i32 row, i32 column, float scale) {
  float top = kBeforeKeys;
#pragma unroll
  for (i32 w = 0; w < kWarpGrid.keys; ++w) top = max(top, smem.m[w][row]);
  Vector o{};
  float weight = 0;
#pragma unroll
  for (i32 w = 0; w < kWarpGrid.keys; ++w) {
    const float factor = ptx::ex2_approx_ftz_f32((smem.m[w][row] - top) * scale);
    weight += factor * smem.l[w][row];
    const i32 at = w * config::kTileM * OutputTile::kRowBytes + OutputTile::offset(row, column / kVector);
    add_scaled(o, *reinterpret_cast<const Vector*>(output + at), factor);
  }
  return normalised(o, weight, top * scale);
}

/// Row of the partial results where row `row` of the tile lies, of a part of a row tile.
KILN_DEVICE i32 partial_row(const DecodeParams& p, const Rows& rows, i32 place, i32 row) {
  return (place * p.heads_kv + rows.kv_head) * config::kTileM + row;
}

/// Columns column … column + 3 of a row, over all its parts in their order.
KILN_DEVICE Piece merge_parts(const DecodeParams& p, const Rows& rows, const DecodeShare& share, i32 row, i32 column) {
  constexpr i32 kAtOnce = 8;  // loads under way together
  Vector sum{};
  float weight = 0;
  float top = kBeforeKeys;
#pragma unroll 1
  for (i32 first = 0; first < share.parts; first += kAtOnce) {
    Vector o[kAtOnce];
    float lse[kAtOnce];
    float new_top = top;
#pragma unroll
    for (i32 i = 0; i < kAtOnce; ++i) {
      const i32 part = min(first + i, share.parts - 1);
      const i64 at = partial_row(p, rows, share.place(part), row);
      o[i] = *reinterpret_cast<const Vector*>(p.partial_o + at * config::kHeadDimV + column);
      lse[i] = p.partial_lse[at];
    }
#pragma unroll
    for (i32 i = 0; i < kAtOnce; ++i) {
      if (first + i >= share.parts) lse[i] = kMinusInf;
      new_top = max(new_top, lse[i]);
    }
    const float correction = ptx::ex2_approx_ftz_f32(top - new_top);
    top = new_top;
    weight *= correction;
#pragma unroll
    for (float& x : sum.x) x *= correction;
#pragma unroll
    for (i32 i = 0; i < kAtOnce; ++i) {
      const float factor = ptx::ex2_approx_ftz_f32(lse[i] - top);
      weight += factor;
      add_scaled(sum, o[i], factor);
    }
  }
  return normalised(sum, weight, top);
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
KILN_DEVICE void finish_share(const DecodeParams& p, const Work& work, const Smem& smem, const unsigned char* output,
                              float scale, u32 thread) {
  const Rows& rows = work.rows;
  const DecodeShare& share = work.share;
  for_pieces(rows.count, thread, [&](i32 row, i32 column) {
    const Piece piece = merge_warps(smem, output, row, column, scale);
    if (share.parts == 1) {
      write_result(p, rows, row, column, piece);
      return;
    }
    const i64 at = partial_row(p, rows, share.place(share.part), row);
    *reinterpret_cast<Vector*>(p.partial_o + at * config::kHeadDimV + column) = piece.o;
    if (column == 0) p.partial_lse[at] = piece.lse;
  });
  if (share.parts == 1 || !arrive_last(p, rows, share, thread)) return;
  for_pieces(rows.count, thread, [&](i32 row, i32 column) {
    write_result(p, rows, row, column, merge_parts(p, rows, share, row, column));
  });
}

}  // namespace kiln::device

extern "C" __global__ void __launch_bounds__(kiln::device::kThreads, kiln::config::kCtasPerSm)
    kiln_decode(const __grid_constant__ kiln::device::DecodeParams p) {
  using namespace kiln::device;
  namespace config = kiln::config;
  alignas(kSmemAlignment) extern __shared__ unsigned char smem_bytes[];
  Smem& smem = *reinterpret_cast<Smem*>(smem_bytes);
  const u32 thread = threadIdx.x;
  const i32 block = static_cast<i32>(blockIdx.x);
  const i32 group = quotient(block, p.heads_kv);
  Producer producer(p, smem, block - group * p.heads_kv, group, thread);
  const ScoreScale scale(p.scale_log2);
  const float softmax_scale = kScores.scales_scores() ? 1.0f : scale.magnitude;
  i32 stage = 0;
  // Share −1 is none: the first one is begun, and its copies.
#pragma unroll 1
  for (i32 current = -1;; ++current) {
    if (producer.begin_share()) __syncthreads();  // the next share is in shared memory
    producer.catch_up();
    if (current < 0) continue;
    if (producer.begun() <= current) return;
    ptx::cp_async_wait_group<config::kStages - 2>();
    Element::Storage* const q_rows = smem.q[current % kDecodeQueries];
    if (scale.negate_q) QueryCopy::negate(q_rows, thread);
    __syncthreads();  // Q is there, and the share before is merged

    const Work& work = smem.work(current);
    Consumer consumer(p, work, smem, thread);
    const Queries q(ptx::cvta_to_shared(q_rows + consumer.warp_row() * kPaddedDimQk), thread % kWarpSize);
    Softmax softmax(softmax_scale);
    Output o{};
    consumer.run(producer, stage, q, softmax, scale.magnitude, o);

    __syncthreads();  // every warp has read its last keys
    unsigned char* const output = smem.output(preceding(stage));
    consumer.publish(softmax, o, output);
    __syncthreads();
    finish_share(p, work, smem, output, softmax_scale, thread);
  }
}
