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
#include "device/page_size.cuh"
#include "device/paged_rows.cuh"
#include "device/params.cuh"
#include "device/ptx.cuh"
#include "device/score.cuh"
#include "device/smem_plan.cuh"
#include "device/stream_order.cuh"
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
static_assert(kCopyKeys % 8 == 0, "what a warp copies begins where the swizzle does");
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

/// Q stays in registers where they hold it beside S, O and the others; else it is read again for each tile.
inline constexpr i32 kTileRegisters =
    kRowBlocks * (kAccumulators * (kScoreBlocks + kOutputBlocks) + 4 * k_steps(config::kHeadDimQk, config::kDType));
inline constexpr i32 kOtherRegisters = 110;
inline constexpr i32 kRegisterFile = 65536;
inline constexpr i32 kRegisters = min(kRegisterFile / static_cast<i32>(kThreads * config::kCtasPerSm), 255);
inline constexpr bool kQInRegisters = kTileRegisters + kOtherRegisters <= kRegisters;
/// Where registers are that short, what follows from a thread's place is found anew for each tile.
inline constexpr bool kKeepsPlaces = kQInRegisters;
using Queries = QueryRows<config::kHeadDimQk, kRowBlocks, kQInRegisters>;

/// The rows of a share, which are queries and heads, and where they lie in memory.
struct Rows {
  i32 batch;
  i32 kv_head;
  i32 begin;  // row of the sequence
  i32 count;  // ≤ kTileM
  i32 len_q;

  Rows() = default;
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

/// The keys of a share, as copies need them.
struct Keys {
  const Element::Storage* k;  // key 0 of the sequence, or of page 0
  const Element::Storage* v;
  const i32* pages;  // of the sequence
  i32 padding;       // in front of key 0, with pages
  i32 len;
  TileRange tiles;

  Keys() = default;
  KILN_DEVICE Keys(const DecodeParams& p, const DecodeShare& share, const Rows& rows)
      : k(static_cast<const Element::Storage*>(p.k) + rows.kv_head * p.k_strides.head),
        v(static_cast<const Element::Storage*>(p.v) + rows.kv_head * p.v_strides.head),
        pages(p.page_table),
        padding(0),
        len(share.sequence.len_k),
        tiles(share.tiles) {
    i64 row = rows.batch;
    if (p.simple_cache == 0) {
      row = max(cache_row_of(p.cache, rows.batch), 0);
      padding = left_padding_of(p.cache, rows.batch);
    }
    if constexpr (config::kPaged) {
      pages += p.cache.page_indptr != nullptr ? p.cache.page_indptr[rows.batch] : row * p.page_table_stride;
    } else {
      k += row * p.k_strides.batch + padding * p.k_strides.row;
      v += row * p.v_strides.batch + padding * p.v_strides.row;
    }
    if (share.sequence.row_tiles > 1) {  // rows of this tile may see less than the sequence's
      const TileRange seen =
          tile_range(share.sequence.band, rows.query(p, 0), rows.query(p, rows.count - 1), config::kTileN);
      tiles = {max(tiles.begin, seen.begin), min(tiles.end, seen.end)};
    }
  }
};

/// What is known of a share while its keys arrive.
struct alignas(kDecodeWorkBytes / 2) Work {
  DecodeParts parts;
  Rows rows;
  TileRange tiles;
  Band band;
  KeyRange seen_by_all;  // keys that every row sees

  KILN_DEVICE Work(const DecodeParams& p, const DecodeShare& share, const DecodeParts& given, const Rows& its_rows,
                   TileRange its_tiles)
      : parts(given), rows(its_rows), tiles(its_tiles), band(share.sequence.band) {
    seen_by_all = band.of_all_rows(rows.query(p, 0), rows.query(p, rows.count - 1));
  }
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

/// Whether copies of the next share begin under the arithmetic of the one at hand.
inline constexpr bool kLooksAhead = config::kCapability >= 80;  // else copies are done at once

using QueryCopy = TileCopy<config::kTileM, config::kHeadDimQk, kThreads>;

KILN_DEVICE i32 following(i32 stage) { return stage + 1 == config::kStages ? 0 : stage + 1; }
KILN_DEVICE i32 preceding(i32 stage) { return stage == 0 ? config::kStages - 1 : stage - 1; }

/// The copies of one warp, from share to share: no further than the one after that at hand, which is the one queued.
class Producer {
 public:
  KILN_DEVICE Producer(const DecodeParams& p, Smem& smem, u32 thread) : p_(p), smem_(smem), thread_(thread) {}

  /// What to copy next.
  KILN_DEVICE void queue(const Keys& keys, const Rows& rows) {
    if constexpr (kLooksAhead) {
      queued_keys_ = keys;
      queued_rows_ = rows;
      is_queued_ = true;
    } else {
      enter(keys);
      copy_queries(rows);
    }
  }

  /// Copies this warp's keys of the next tile, with the first of a share its part of Q: one commit group, empty if
  /// there is none.
  KILN_DEVICE void start_next() {
    if (kLooksAhead && keys_.tiles.begin >= keys_.tiles.end && is_queued_) {
      enter(queued_keys_);
      is_queued_ = false;
      is_new_ = true;
    }
    if (keys_.tiles.begin < keys_.tiles.end) {
      copy(smem_);
      if (kLooksAhead && is_new_) copy_queries(queued_rows_);
      is_new_ = false;
      ++keys_.tiles.begin;
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
  KILN_DEVICE u32 thread() const { return kKeepsPlaces ? thread_ : ptx::mov_tid_x(); }
  KILN_DEVICE i32 warp() const { return static_cast<i32>(thread() / kWarpSize); }
  KILN_DEVICE u32 lane() const { return thread() % kWarpSize; }

  KILN_DEVICE void enter(const Keys& keys) {
    keys_ = keys;
    which_q_ ^= 1;
    if constexpr (config::kPaged) look_up_more_pages();
  }

  KILN_DEVICE void copy_queries(const Rows& rows) {
    const auto* const q = static_cast<const Element::Storage*>(p_.q);
    QueryCopy::load_rows(ptx::cvta_to_shared(smem_.q[which_q_]), rows.count, thread(),
                         [&](i32 row) { return q + rows.offset(p_, p_.q_strides, row); });
  }

  /// Shared is Smem, which has slots only with pages: hence a template.
  template <class Shared>
  KILN_DEVICE void copy(Shared& smem) {
    using KeyCopy = TileCopy<kCopyKeys, config::kHeadDimQk, kWarpSize>;
    using ValueCopy = TileCopy<kCopyKeys, config::kHeadDimV, kWarpSize>;
    const i32 warp = this->warp();
    const u32 lane = this->lane();
    const u32 k = ptx::cvta_to_shared(smem.place(stage_).k + warp * kCopyKeys * kPaddedDimQk);
    const u32 v = ptx::cvta_to_shared(smem.place(stage_).v + warp * kCopyKeys * kPaddedDimV);
    const i32 first = keys_.tiles.begin * config::kTileN + warp * kCopyKeys;
    const i32 valid = keys_.len - first;
    if constexpr (config::kPaged) {
      if (whole_groups()) {
        copy_groups(k, v, valid);
        return;
      }
      auto& slot = smem.slot(static_cast<u32>(warp));
      __syncwarp();  // the last copy has read its rows
#pragma unroll
      for (i32 i = 0; i < kLookUps; ++i) {
        const i32 row = static_cast<i32>(lane) + i * static_cast<i32>(kWarpSize);
        if (row < min(valid, kCopyKeys)) slot.put(p_, row, keys_.padding + first + row, pages_[i]);
      }
      __syncwarp();
      KeyCopy::load_rows(k, valid, lane, [&](i32 row) { return keys_.k + slot.k[row]; });
      ValueCopy::load_rows(v, valid, lane, [&](i32 row) { return keys_.v + slot.v[row]; });
    } else {
      // A warp whose keys all lie beyond the end must not form their address.
      const i64 row = valid > 0 ? first : 0;
      KeyCopy::load(k, keys_.k + row * p_.k_strides.row, p_.k_strides.row, valid, lane);
      ValueCopy::load(v, keys_.v + row * p_.v_strides.row, p_.v_strides.row, valid, lane);
    }
  }

  /// Copies keys whose groups lie in one page each, whose rows then follow each other.
  KILN_DEVICE void copy_groups(u32 k, u32 v, i32 valid) {
    using KeyCopy = TileCopy<kGroupKeys, config::kHeadDimQk, kWarpSize>;
    using ValueCopy = TileCopy<kGroupKeys, config::kHeadDimV, kWarpSize>;
    const u32 lane = this->lane();
    const i32 first = keys_.padding + keys_.tiles.begin * config::kTileN + warp() * kCopyKeys;
#pragma unroll
    for (i32 group = 0; group < kGroups; ++group) {
      const i32 key = group * kGroupKeys;
      const i64 known = __shfl_sync(kAllLanes, pages_[0], static_cast<i32>(used_pages_) + group);
      const i64 page = key < valid ? known : 0;  // of others none was looked up
      const i64 row = place_of_key(p_.page, first + key).row;
      KeyCopy::load(k + key * kPaddedDimQk * Element::kBytes,
                    keys_.k + page * p_.k_strides.batch + row * p_.k_strides.row, p_.k_strides.row, valid - key, lane);
      ValueCopy::load(v + key * kPaddedDimV * Element::kBytes,
                      keys_.v + page * p_.v_strides.batch + row * p_.v_strides.row, p_.v_strides.row, valid - key,
                      lane);
    }
  }

  /// Reads pages of what is copied next, early enough for it not to wait: of each of the next copy's keys, or, where a
  /// group needs but one, of as many tiles as there are lanes for.
  KILN_DEVICE void look_up_pages() {
    if constexpr (config::kPaged) {
      if (whole_groups() && used_pages_ + kGroups < kWarpSize) {
        used_pages_ += kGroups;
      } else {
        look_up_more_pages();
      }
    }
  }

  KILN_DEVICE void look_up_more_pages() {
    used_pages_ = 0;
    const i32 first = keys_.tiles.begin * config::kTileN + warp() * kCopyKeys;
    const i32 end = min(keys_.len, keys_.tiles.end * config::kTileN);
    const i32 lane = static_cast<i32>(this->lane());
    if (whole_groups()) {
      const i32 key = first + lane / kGroups * config::kTileN + lane % kGroups * kGroupKeys;
      if (key < end) pages_[0] = keys_.pages[place_of_key(p_.page, keys_.padding + key).page];
      return;
    }
#pragma unroll
    for (i32 i = 0; i < kLookUps; ++i) {
      const i32 row = lane + i * static_cast<i32>(kWarpSize);
      const i32 key = first + row;
      if (row < kCopyKeys && key < end) pages_[i] = keys_.pages[place_of_key(p_.page, keys_.padding + key).page];
    }
  }

  /// Whether the keys of a group share a page, wherever in the sequence they are.
  KILN_DEVICE bool whole_groups() const {
    return p_.page.keys % kGroupKeys == 0 && static_cast<u32>(keys_.padding) % kGroupKeys == 0;
  }

  static constexpr i32 kGroupKeys = min(kCopyKeys, 16);  // that a page may well hold
  static constexpr i32 kGroups = kCopyKeys / kGroupKeys;
  static_assert(kCopyKeys % kGroupKeys == 0 && static_cast<i32>(kWarpSize) % kGroups == 0);
  static constexpr i32 kLookUps = ceil_div(kCopyKeys, static_cast<i32>(kWarpSize));

  const DecodeParams& p_;
  Smem& smem_;
  u32 thread_;
  i32 missing_ = config::kStages - 1;  // copies to be caught up with
  i32 stage_ = 0;                      // of the next tile
  i32 which_q_ = 1;                    // place of Q
  bool is_new_ = false;                // Q is to be copied
  Keys keys_{};                        // of which tiles.begin is copied next
  bool is_queued_ = false;
  Keys queued_keys_{};
  Rows queued_rows_{};
  i32 pages_[config::kPaged ? kLookUps : 1];  // looked up
  u32 used_pages_ = kWarpSize;                // of them, where a group needs one
};

/// The way of one warp through the tiles of a share.
class Consumer {
 public:
  KILN_DEVICE Consumer(const DecodeParams& p, const Work& work, Smem& smem, u32 thread)
      : p_(p),
        work_(work),
        rows_(work.rows),
        smem_(smem),
        warp_(static_cast<i32>(thread / kWarpSize)),
        lane_(thread % kWarpSize) {}

  KILN_DEVICE i32 warp_row() const { return warp_ % kWarpGrid.rows * kWarpRows; }
  KILN_DEVICE i32 key_warp() const { return warp_ / kWarpGrid.rows; }

  KILN_DEVICE void run(Producer& producer, i32& stage, const Queries& q, Softmax& softmax, float scale, Output& o) {
    const LdmatrixLane k_lane = ldmatrix_chunks_first(lane_);
    const LdmatrixLane v_lane = ldmatrix_rows_first(lane_);
    const i32 tiles_end = work_.tiles.end;
#pragma unroll 1
    for (i32 t = work_.tiles.begin; t < tiles_end; ++t) {
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
        change_scores<kScores>(s, p_, scale, lane_, first_key, work_.band.len_k,
                               [&](i32 b, i32 r) { return score_row(row_of(b, r)); });
      }
      if (first_key < work_.seen_by_all.begin || first_key + kWarpKeys > work_.seen_by_all.end) {
        apply_mask<true>(s, lane_, first_key,
                         [&](i32 b, i32 r) { return work_.band.limits_of_row(rows_.query(p_, row_of(b, r))); });
      }
      if (p_.tree.words != nullptr && first_key + kWarpKeys > work_.band.len_k - rows_.len_q)
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
        if (row >= rows_.count) continue;
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
    return make_score_row<kScores>(p_, rows_.batch, rows_.head(p_, existing), rows_.query(p_, existing),
                                   decode_shift(p_, rows_.len_q, work_.band.len_k));
  }

  /// Hides the new tokens that a row's query does not descend from.
  KILN_DEVICE void hide_other_branches(Scores& s, i32 first_key) const {
#pragma unroll
    for (i32 b = 0; b < kRowBlocks; ++b) {
#pragma unroll
      for (i32 r = 0; r < kRowsPerLane; ++r) {
        const i32 query = rows_.query(p_, rows_.existing(row_of(b, r)));
        const u32* words = p_.tree.words + rows_.batch * p_.tree.batch_stride + query * p_.tree.row_stride;
        const i32 first_token = first_key - (work_.band.len_k - rows_.len_q) + accumulator_coordinate(lane_, 0).column;
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
  const Work& work_;
  const Rows& rows_;
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

/// A piece of one row of O, and the sum of the row's weights, both times 2^−top.
struct Piece {
  Vector o;
  float weight;
  float top;
};

KILN_DEVICE void add_scaled(Vector& sum, const Vector& x, float weight) {
#pragma unroll
  for (i32 i = 0; i < kVector; ++i) sum.x[i] += weight * x.x[i];
}

/// Columns column … column + 3 of a row, over all warps along the keys, whose O is in `output`.
KILN_DEVICE Piece merge_warps(const Smem& smem, const unsigned char* output, i32 row, i32 column, float scale) {
  float top = kBeforeKeys;
#pragma unroll
  for (i32 w = 0; w < kWarpGrid.keys; ++w) top = max(top, smem.m[w][row]);
  Piece piece{};
#pragma unroll
  for (i32 w = 0; w < kWarpGrid.keys; ++w) {
    const float factor = ptx::ex2_approx_ftz_f32((smem.m[w][row] - top) * scale);
    piece.weight += factor * smem.l[w][row];
    const i32 at = w * config::kTileM * OutputTile::kRowBytes + OutputTile::offset(row, column / kVector);
    add_scaled(piece.o, *reinterpret_cast<const Vector*>(output + at), factor);
  }
  piece.top = fmaxf(top * scale, kBeforeKeys);
  return piece;
}

/// Row of the partial results where row `row` of the tile lies, of a part of a row tile.
KILN_DEVICE i32 partial_row(const DecodeParams& p, const Rows& rows, i32 place, i32 row) {
  return (place * p.heads_kv + rows.kv_head) * config::kTileM + row;
}

/// Top and weight of a row of a part.
struct alignas(2 * sizeof(float)) PartState {
  float top;
  float weight;
};

/// Columns column … column + 3 of a row, over all its parts in their order.
KILN_DEVICE Piece merge_parts(const DecodeParams& p, const Rows& rows, const DecodeParts& parts, i32 row, i32 column) {
  constexpr i32 kAtOnce = 8;  // loads under way together
  const auto* const states = reinterpret_cast<const PartState*>(p.partial_state);
  const float* const columns = p.partial_o + column;
  Piece sum{.o = {}, .weight = 0, .top = kBeforeKeys};
#pragma unroll 1
  for (i32 first = 0; first < parts.count; first += kAtOnce) {
    Vector o[kAtOnce];
    PartState state[kAtOnce];
#pragma unroll
    for (i32 i = 0; i < kAtOnce; ++i) {
      const i32 at = partial_row(p, rows, parts.place(min(first + i, parts.count - 1)), row);
      state[i] = states[at];
      o[i] = *reinterpret_cast<const Vector*>(columns + i64{at} * config::kHeadDimV);
    }
    float top = sum.top;
#pragma unroll
    for (i32 i = 0; i < kAtOnce; ++i) top = max(top, state[i].top);
    const float correction = ptx::ex2_approx_ftz_f32(sum.top - top);
    sum.top = top;
    sum.weight *= correction;
#pragma unroll
    for (float& x : sum.o.x) x *= correction;
#pragma unroll
    for (i32 i = 0; i < kAtOnce; ++i) {
      const float factor = first + i < parts.count ? ptx::ex2_approx_ftz_f32(state[i].top - top) : 0.0f;
      sum.weight += factor * state[i].weight;
      add_scaled(sum.o, o[i], factor);
    }
  }
  return sum;
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
  const float top = fmaxf(piece.top, sink_log2);
  const float correction = ptx::ex2_approx_ftz_f32(piece.top - top);
  piece.weight = piece.weight * correction + ptx::ex2_approx_ftz_f32(sink_log2 - top);
  piece.top = top;
#pragma unroll
  for (float& x : piece.o.x) x *= correction;
}

KILN_DEVICE void write_result(const AttentionParams& p, const Rows& rows, i32 row, i32 column, Piece piece) {
  if (p.sinks != nullptr) add_sink(piece, p.sinks[rows.head(p, row)] * kLog2E);
  const bool empty = piece.weight == 0.0f;
  const float inverse = empty ? 0.0f : ptx::rcp_approx_ftz_f32(piece.weight);
  float(&x)[kVector] = piece.o.x;
#pragma unroll
  for (float& element : x) element *= inverse;
  const i64 o = rows.offset(p, p.o_strides, row) + column;
  if constexpr (kFloatOutput) {
    *reinterpret_cast<Vector*>(static_cast<float*>(p.o) + o) = piece.o;
  } else {
    *reinterpret_cast<PackedVector*>(static_cast<Element::Storage*>(p.o) + o) = {Element::pack(x[0], x[1]),
                                                                                 Element::pack(x[2], x[3])};
  }
  if (p.lse != nullptr && column == 0) {
    const float lse = empty ? kMinusInf : piece.top + ptx::lg2_approx_ftz_f32(piece.weight);
    p.lse[rows.lse_offset(p, row)] = lse * p.lse_unit;
  }
}

/// True in all threads of the last block of a row tile to come here; it then sees what the others wrote before.
KILN_DEVICE bool arrive_last(const DecodeParams& p, const Rows& rows, const DecodeParts& parts, u32 thread) {
  i32* counter = p.counters + i64{parts.counter} * p.heads_kv + rows.kv_head;
  __syncthreads();  // all threads' partial results come before thread 0's release
  bool last = false;
  if (thread == 0) {
    last = ptx::atom_add_acq_rel_gpu(counter, 1) == parts.count - 1;
    if (last) *counter = 0;
  }
  return __syncthreads_or(last) != 0;
}

/// Writes what the warps have found, or leaves it for the last block of the row tile, which merges all.
KILN_DEVICE void finish_share(const DecodeParams& p, const Work& work, const Smem& smem, const unsigned char* output,
                              float scale, u32 thread) {
  const Rows& rows = work.rows;
  const DecodeParts parts = work.parts;
  for_pieces(rows.count, thread, [&](i32 row, i32 column) {
    const Piece piece = merge_warps(smem, output, row, column, scale);
    if (parts.count == 1) {
      write_result(p, rows, row, column, piece);
      return;
    }
    const i32 at = partial_row(p, rows, parts.place(parts.part), row);
    *reinterpret_cast<Vector*>(p.partial_o + i64{at} * config::kHeadDimV + column) = piece.o;
    if (column == 0) reinterpret_cast<PartState*>(p.partial_state)[at] = {piece.top, piece.weight};
  });
  if (parts.count == 1 || !arrive_last(p, rows, parts, thread)) return;
  for_pieces(rows.count, thread, [&](i32 row, i32 column) {
    write_result(p, rows, row, column, merge_parts(p, rows, parts, row, column));
  });
}

}  // namespace kiln::device

extern "C" __global__ void __launch_bounds__(kiln::device::kThreads, kiln::config::kCtasPerSm)
    kiln_decode(const __grid_constant__ kiln::device::DecodeParams p) {
  using namespace kiln::device;
  namespace config = kiln::config;
  alignas(kSmemAlignment) extern __shared__ unsigned char smem_bytes[];
  Smem& smem = *reinterpret_cast<Smem*>(smem_bytes);
  follow_in_stream();
  const u32 thread = threadIdx.x;
  const i32 kv_head = static_cast<i32>(blockIdx.x);
  const i32 group = static_cast<i32>(blockIdx.y + blockIdx.z * gridDim.y);
  if (group >= p.split.groups) return;
  Walk walk(p, group, thread % kWarpSize);
  Producer producer(p, smem, thread);
  const ScoreScale scale(p.scale_log2);
  const float softmax_scale = kScores.scales_scores() ? 1.0f : scale.magnitude;
  i32 stage = 0;
  bool is_work = false;  // whether there is a share at hand
  // If copies look ahead, share −1 is none: the first one's copies are begun.
#pragma unroll 1
  for (i32 current = kLooksAhead ? -1 : 0;; ++current) {
    DecodeShare share;
    const bool is_next = walk.next(share);
    if (is_next) {
      const Rows rows(p, share, kv_head);
      const Keys keys(p, share, rows);
      producer.queue(keys, rows);
      producer.catch_up();
      const Work work(p, share, walk.parts_of(share), rows, keys.tiles);
      if (thread == 0) smem.work(kLooksAhead ? current + 1 : current) = work;
    } else if (!is_work) {
      return;
    }
    if constexpr (!kLooksAhead) is_work = is_next;
    if (is_work) {
      ptx::cp_async_wait_group<config::kStages - 2>();
      Element::Storage* const q_rows = smem.q[current % kDecodeQueries];
      if (scale.negate_q) QueryCopy::negate(q_rows, thread);
      __syncthreads();  // Q and the share are there, and the share before is merged

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
    is_work = is_next;
  }
}
