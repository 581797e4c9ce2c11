// Forward attention on mma.sync: o = softmax(scores) v, where scores are scale · q kᵀ with what the config
// adds, and −inf where the mask hides a key.
//
// Contract. One block computes kTileM rows, which are queries of one head or, side by side, those of all
// heads that share K and V, over all the keys that those rows see. Any lengths, from the arguments or from
// the device; any 64-bit strides; pointers and strides are multiples of 16 bytes. K and V rows at or
// beyond a sequence's length are never read. A row that sees no key gets o = 0 and lse = −inf (with a
// sink: the sink). The sum over keys runs in one fixed order, so results repeat bitwise.
//
// Roles. All warps do the same: each owns kWarpRows rows of Q, S, P and O, and all copy. S, P, O and
// the softmax state never leave registers, and no warp needs another's.
//
// Shared memory. K and V tiles go round kStages places, copied by cp.async kStages − 1 tiles ahead:
//
//   step t:  wait for my copies of tile t → __syncthreads → start copies of tile t + kStages − 1
//            → S = Q K[t]ᵀ → softmax → O += P V[t]
//
// The one barrier says two things: everybody's part of tile t has landed, and everybody has finished
// step t − 1, whose place the new copies take. Large head dims leave room for one place only, if two
// blocks are to share an SM and fill each other's waits:
//
//   step t:  wait for K[t] → __syncthreads → start the copy of V[t] → S = Q K[t]ᵀ
//            → wait for V[t] → __syncthreads → start the copy of K[t + 1] → softmax → O += P V[t]
//
// Q keeps its place to the end, where each warp lays its rows of O over it to write them out in whole
// sectors. With pages, where the rows of a tile lie is looked up at the end of the step before the one
// that copies it, and passes through the same barrier.
#include "default_config.cuh"
#include "device/base.cuh"
#include "device/element.cuh"
#include "device/fragment.cuh"
#include "device/mask.cuh"
#include "device/online_softmax.cuh"
#include "device/paged_rows.cuh"
#include "device/params.cuh"
#include "device/ptx.cuh"
#include "device/score.cuh"
#include "device/sequence.cuh"
#include "device/smem_plan.cuh"
#include "device/stream_order.cuh"
#include "device/swizzle.cuh"
#include "device/tile_copy.cuh"
#include "device/tile_schedule.cuh"
#include "device/warp_tile.cuh"

namespace kiln::device {

inline constexpr u32 kThreads = config::kWarps * kWarpSize;
inline constexpr i32 kWarpRows = config::kTileM / config::kWarps;
inline constexpr i32 kRowBlocks = kWarpRows / kMmaM;
inline constexpr i32 kScoreBlocks = config::kTileN / kMmaN;
inline constexpr i32 kOutputBlocks = config::kHeadDimV / kMmaN;
KILN_DEVICE consteval MaskKind mask_kind() {
  return {config::kCausal, config::kAlignTopLeft, config::kSlidingWindow || config::kFixedWindow};
}
/// Whether the first key that a row sees can lie inside a tile.
inline constexpr bool kLowerBound = config::kSlidingWindow || config::kWindowLeft >= 0;
KILN_DEVICE consteval ScoreKind score_kind() {
  return {config::kSoftcap, config::kAlibi, config::kBiasAdditive, config::kBiasMask};
}

static_assert(kWarpRows % kMmaM == 0 && kWarpRows > 0, "a warp owns whole 16-row blocks");
static_assert(config::kTileN % kMmaK == 0, "a tile of keys is a whole number of k steps of P V");
static_assert(config::kHeadDimQk % kMmaN == 0 && config::kHeadDimV % kMmaN == 0);
/// With one place for K and one for V, V is copied under Q Kᵀ, and the next K under the softmax and P V; with more,
/// both run tiles ahead.
inline constexpr bool kOnePlace = config::kStages == 1;
/// Tiles that K and V are copied ahead.
inline constexpr i32 kAhead = kOnePlace ? 1 : config::kStages - 1;

/// Q stays in registers where S, O and it leave kOtherRegisters for the rest; else it is read again
/// for each tile of keys.
inline constexpr i32 kOtherRegisters = 64;
inline constexpr i32 kRegisterFile = 65536;
inline constexpr i32 kRegisters = min(kRegisterFile / static_cast<i32>(kThreads * config::kCtasPerSm), 255);
inline constexpr i32 kTileRegisters =
    kRowBlocks * (kAccumulators * (kScoreBlocks + kOutputBlocks) + 4 * k_steps(config::kHeadDimQk, config::dtype()));
inline constexpr bool kQInRegisters = kTileRegisters + kOtherRegisters <= kRegisters;

KILN_DEVICE SequenceRows queries_of(const AttentionParams& p) {
  if constexpr (config::kRagged) return {p.cu_seqlens_q, p.seqused_q, p.len_q};
  return {nullptr, nullptr, p.len_q};
}

KILN_DEVICE SequenceRows keys_of(const AttentionParams& p) {
  if constexpr (config::kRagged) return {p.cu_seqlens_k, p.seqused_k, p.len_k};
  return {nullptr, nullptr, p.len_k};
}

/// The rows of Q and O that a block works on.
struct Rows {
  ForwardTile tile;
  i32 len_q;  // of the sequence
  i32 len_k;

  KILN_DEVICE static Rows of_block(const ForwardParams& p, u32 block, u32 lane) {
    const i32 pack = static_cast<i32>(p.heads.count);
    const ForwardSchedule schedule{.row_tiles = p.row_tiles,
                                   .group = p.group / pack,
                                   .pack = pack,
                                   .heads_kv = p.heads_kv,
                                   .streams = (config::kRagged ? 1 : p.batch) * p.heads_kv,
                                   .bundle = p.bundle};
    Rows rows{schedule.tile_of(block, config::kCausal && !config::kRagged), p.len_q, p.len_k};
    if constexpr (config::kRagged) {
      const SequenceTile found =
          find_sequence_tile(queries_of(p), p.batch, pack, config::kTileM, rows.tile.row_tile, config::kCausal, lane);
      rows.tile.batch = found.batch;
      rows.tile.row_tile = found.row_tile;
      if (rows.nothing_to_do(p)) return rows;
      rows.len_q = queries_of(p).length(found.batch);
      rows.len_k = keys_of(p).length(found.batch);
    }
    return rows;
  }

  /// The grid has room for more tiles than ragged sequences have.
  KILN_DEVICE bool nothing_to_do(const AttentionParams& p) const { return config::kRagged && tile.batch == p.batch; }

  KILN_DEVICE i32 begin() const { return tile.row_tile * config::kTileM; }
  KILN_DEVICE i32 count(const AttentionParams& p) const {
    return min(config::kTileM, len_q * static_cast<i32>(p.heads.count) - begin());
  }
  KILN_DEVICE i32 kv_head(const AttentionParams& p) const { return tile.head / p.group; }

  /// The query and the head of row `row` of the tile.
  KILN_DEVICE i32 query(const AttentionParams& p, i32 row) const { return query_of_row(p.heads, begin() + row); }
  KILN_DEVICE i32 head(const AttentionParams& p, i32 row) const {
    return tile.head + begin() + row - query(p, row) * static_cast<i32>(p.heads.count);
  }

  /// From the start of Q or O to row `row` of the tile.
  KILN_DEVICE i64 offset(const AttentionParams& p, const Strides& strides, i32 row) const {
    return queries_of(p).begin(tile.batch, strides) + query(p, row) * strides.row + head(p, row) * strides.head;
  }
  KILN_DEVICE float* lse(const AttentionParams& p, i32 row) const {
    const i32* packed = queries_of(p).cu_seqlens;
    const i64 first = packed != nullptr ? packed[tile.batch] : i64{tile.batch} * p.heads_q * p.len_q;
    const i64 rows_of_head = packed != nullptr ? p.total_q : p.len_q;
    return p.lse + first + head(p, row) * rows_of_head + query(p, row);
  }
};

KILN_DEVICE Band band_of(const AttentionParams& p, const Rows& rows) {
  return make_band(mask_kind(), rows.len_q, rows.len_k, config::kFixedWindow ? config::kWindowLeft : p.window_left,
                   config::kFixedWindow ? config::kWindowRight : p.window_right);
}

/// The keys that a block works on.
struct Keys {
  const Element::Storage* k;  // key 0 of the KV head, or of page 0
  const Element::Storage* v;
  i32 len;
  i32 batch;             // whose row of the page table
  TileRange tiles;       // that some row sees
  KeyRange seen_by_all;  // keys that every row sees: tiles of them need no mask

  KILN_DEVICE Keys(const AttentionParams& p, const Rows& rows, const Band& band)
      : k(static_cast<const Element::Storage*>(p.k) + offset(p, p.k_strides, rows)),
        v(static_cast<const Element::Storage*>(p.v) + offset(p, p.v_strides, rows)),
        len(rows.len_k),
        batch(rows.tile.batch) {
    const i32 first = rows.query(p, 0);
    const i32 last = rows.query(p, rows.count(p) - 1);
    tiles = tile_range(band, first, last, config::kTileN);
    seen_by_all = band.of_all_rows(first, last);
  }

  /// Whether some row doesn't see all keys of the tile from `first_key` on.
  KILN_DEVICE bool hides_some(i32 first_key) const {
    return (kLowerBound && first_key < seen_by_all.begin) || first_key + config::kTileN > seen_by_all.end;
  }

 private:
  KILN_DEVICE static i64 offset(const AttentionParams& p, const Strides& strides, const Rows& rows) {
    const i64 sequence = config::kPaged ? 0 : keys_of(p).begin(rows.tile.batch, strides);
    return sequence + rows.kv_head(p) * strides.head;
  }
};

struct Tiles {
  union {
    Element::Storage q[config::kTileM * kPaddedDimQk];
    Element::Storage o[config::kTileM * kPaddedDimV];
  };
  Element::Storage k[config::kStages][config::kTileN * kPaddedDimQk];
  Element::Storage v[config::kStages][config::kTileN * kPaddedDimV];
};

/// What waits until a step or the end asks for it: registers are short in between.
struct Waiting {
  Rows rows;
  Band band;
  Keys keys;
};

struct alignas(kSmemAlignment) Smem : Tiles, PageSlots<config::kPaged, kAhead + 1, config::kTileN> {
  Waiting waiting;
};
static_assert(sizeof(Smem) == config::kSmemBytes);
static_assert(sizeof(Smem) == forward_smem_bytes(config::dtype(), config::kHeadDimQk, config::kHeadDimV, config::kTileM,
                                                 config::kTileN, config::kStages, config::kPaged));

/// Shared addresses of the places of K and V, all from one register.
struct Places {
  static constexpr u32 kKeys = max(sizeof(Tiles::q), sizeof(Tiles::o));
  static constexpr u32 kValues = kKeys + sizeof(Tiles::k);
  u32 smem;

  /// Of tile t. Tiles go round the places.
  KILN_DEVICE u32 k(i32 t) const { return smem + kKeys + stage(t) * static_cast<u32>(sizeof(Tiles::k[0])); }
  KILN_DEVICE u32 v(i32 t) const { return smem + kValues + stage(t) * static_cast<u32>(sizeof(Tiles::v[0])); }
  KILN_DEVICE static u32 stage(i32 t) { return static_cast<u32>(t) % config::kStages; }
};

using Scores = float[kRowBlocks][kScoreBlocks][kAccumulators];
using Output = float[kRowBlocks][kOutputBlocks][kAccumulators];
using Softmax = OnlineSoftmax<kRowBlocks>;
using KeyTile = BlockAddresses<kChunksQk>;
using ValueTile = Element::Values<kChunksV>;
using Queries = QueryRows<config::kHeadDimQk, kRowBlocks, kQInRegisters>;
using KeyCopy = TileCopy<config::kTileN, config::kHeadDimQk, kThreads>;
using ValueCopy = TileCopy<config::kTileN, config::kHeadDimV, kThreads>;

/// Tiles under way have a slot each.
KILN_DEVICE u32 page_slot(i32 t) { return static_cast<u32>(t) % static_cast<u32>(kAhead + 1); }

/// What a copy of a tile is of.
enum class Part { k, v, both };

/// Starts the copy of tile t: one commit group, empty if there is no such tile, since the waits count groups. Shared is
/// Smem, which has slots only with pages: hence a template.
template <Part kPart, class Shared>
KILN_DEVICE void start_copy(const AttentionParams& p, const Keys& keys, i32 tiles_end, const Shared& smem,
                            const Places& places, i32 t) {
  if (t < tiles_end) {
    const u32 thread = ptx::mov_tid_x();
    const i32 first_key = t * config::kTileN;
    const i32 valid = keys.len - first_key;
    if constexpr (config::kPaged) {
      const auto& rows = smem.slot(page_slot(t));
      if constexpr (kPart != Part::v) {
        KeyCopy::load_rows(places.k(t), valid, thread, [&](i32 row) { return keys.k + rows.k[row]; });
      }
      if constexpr (kPart != Part::k) {
        ValueCopy::load_rows(places.v(t), valid, thread, [&](i32 row) { return keys.v + rows.v[row]; });
      }
    } else {
      if constexpr (kPart != Part::v) {
        KeyCopy::load(places.k(t), keys.k + first_key * p.k_strides.row, p.k_strides.row, valid, thread);
      }
      if constexpr (kPart != Part::k) {
        ValueCopy::load(places.v(t), keys.v + first_key * p.v_strides.row, p.v_strides.row, valid, thread);
      }
    }
  }
  ptx::cp_async_commit_group();
}

/// The copies under which a step computes, or, with one place, the first part of it.
KILN_DEVICE consteval Part copied() { return kOnePlace ? Part::k : Part::both; }

/// Looks up where the keys of tile t lie. The next barrier shows it to the copies.
template <class Shared>
KILN_DEVICE void look_up_pages(const AttentionParams& p, const Keys& keys, Shared& smem, i32 t) {
  if constexpr (config::kPaged) {
    if (t < keys.tiles.end) {
      smem.slot(page_slot(t)).template look_up<kThreads>(p, keys.batch, t * config::kTileN, keys.len, ptx::mov_tid_x());
    }
  }
}

/// A thread's place among the warps. Made anew where it is needed, so that what follows from it takes
/// no registers between: a warp with 32 rows of head dim 128 has none to spare.
struct Position {
  u32 lane;
  i32 warp_row;  // in the block's tile

  KILN_DEVICE explicit Position(u32 thread)
      : lane(thread % kWarpSize), warp_row(static_cast<i32>(thread / kWarpSize) * kWarpRows) {}
  KILN_DEVICE Position() : Position(ptx::mov_tid_x()) {}

  /// Row in the block's tile of the lane's row r of block b.
  KILN_DEVICE i32 row(i32 b, i32 r) const {
    return warp_row + accumulator_coordinate(lane, 0).row + b * kMmaM + r * (kMmaM / kRowsPerLane);
  }
};

/// The rows of one warp, over all tiles of keys.
class Consumer {
 public:
  KILN_DEVICE Consumer(const AttentionParams& p, TileRange tiles, Smem& smem, const Places& places, float scale,
                       Position at)
      : p_(p),
        tiles_(tiles),
        smem_(smem),
        places_(places),
        scale_(scale),
        softmax_(score_kind().scales_scores() ? 1.0f : scale),
        q_(ptx::cvta_to_shared(smem.q + at.warp_row * kPaddedDimQk), at.lane),
        o_{} {}

  KILN_DEVICE void run() {
#pragma unroll 1
    for (i32 t = tiles_.begin; t < tiles_.end; ++t) step(t);
    softmax_.finish();
    if constexpr (config::kSinks) add_sinks();
  }

  KILN_DEVICE void store();

 private:
  KILN_DEVICE void step(i32 t) {
    ptx::cp_async_wait_group<kAhead - 1>();
    __syncthreads();
    const auto& [rows, band, keys] = smem_.waiting;
    if constexpr (kOnePlace) {
      start_copy<Part::v>(p_, keys, tiles_.end, smem_, places_, t);
      look_up_pages(p_, keys, smem_, t + 1);
    } else {
      start_copy<Part::both>(p_, keys, tiles_.end, smem_, places_, t + kAhead);
    }
    Scores s;
    multiply_qk(s, q_, KeyTile(places_.k(t), ldmatrix_chunks_first(Position().lane)));
    if constexpr (kOnePlace) {
      ptx::cp_async_wait_group<0>();
      __syncthreads();
      start_copy<Part::k>(p_, keys, tiles_.end, smem_, places_, t + 1);
    }
    const i32 first_key = t * config::kTileN;
    if constexpr (score_kind().changes_scores()) {
      const Position at;
      change_scores<score_kind()>(s, p_, scale_, at.lane, first_key, keys.len,
                             [&](i32 b, i32 r) { return score_row(at.row(b, r)); });
    }
    if (keys.hides_some(first_key)) {
      const Position at;
      apply_mask<kLowerBound>(s, at.lane, first_key,
                              [&](i32 b, i32 r) { return band.limits_of_row(rows.query(p_, at.row(b, r))); });
    }
    softmax_.update(s, o_);
    multiply_pv(o_, s, ValueTile(places_.v(t), Element::value_lane(Position().lane)));
    if constexpr (!kOnePlace) look_up_pages(p_, keys, smem_, t + kAhead + 1);
  }

  /// Rows behind the last one stand in for it, so that nothing outside the tensors is read for them.
  KILN_DEVICE ScoreRow score_row(i32 row) const {
    const Rows& rows = smem_.waiting.rows;
    const i32 existing = min(row, rows.count(p_) - 1);
    return make_score_row<score_kind()>(p_, rows.tile.batch, rows.head(p_, existing), rows.query(p_, existing),
                                   diagonal_shift(mask_kind(), rows.len_q, rows.len_k));
  }

  KILN_DEVICE void add_sinks() {
    const Position at;
    const Rows& rows = smem_.waiting.rows;
    softmax_.add_sinks(
        o_, [&](i32 b, i32 r) { return p_.sinks[rows.head(p_, min(at.row(b, r), rows.count(p_) - 1))] * log2_e(); });
  }

  const AttentionParams& p_;
  TileRange tiles_;
  Smem& smem_;
  const Places& places_;
  float scale_;
  Softmax softmax_;
  Queries q_;
  Output o_;
};

/// O of 16 bits through shared memory, O of floats and LSE straight.
KILN_DEVICE void Consumer::store() {
  const Position at;
  const Rows rows = smem_.waiting.rows;
  const i32 count = rows.count(p_);
  // O goes where Q was, so whoever reads Q must be done: a warp's rows of O cover exactly its own rows of Q,
  // unless their lengths differ.
  if constexpr (!kFloatOutput && kPaddedDimQk == kPaddedDimV) {
    __syncwarp();
  } else if constexpr (!kFloatOutput) {
    __syncthreads();
  }
#pragma unroll
  for (i32 b = 0; b < kRowBlocks; ++b) {
#pragma unroll
    for (i32 r = 0; r < kRowsPerLane; ++r) {
      const float l = softmax_.l[b][r];
      const float inverse = l == 0.0f ? 0.0f : ptx::rcp_approx_ftz_f32(l);
      const i32 row = at.row(b, r);
      if constexpr (kFloatOutput) {
        if (row < count) {
          write_row(static_cast<float*>(p_.o) + rows.offset(p_, p_.o_strides, row), o_[b], r, inverse, at.lane);
        }
      } else {
        lay_row<Element, kChunksV>(smem_.o, row, o_[b], r, inverse, at.lane);
      }
      if (p_.lse != nullptr && at.lane % kQuad == 0 && row < count) {
        *rows.lse(p_, row) = softmax_.lse_log2(b, r) * p_.lse_unit;
      }
    }
  }
  if constexpr (!kFloatOutput) {
    __syncwarp();
    auto* const o = static_cast<Element::Storage*>(p_.o);
    const Element::Storage* const tile = smem_.o + at.warp_row * kPaddedDimV;
    using OutputCopy = TileCopy<kWarpRows, config::kHeadDimV, kWarpSize>;
    if (p_.heads.count == 1) {
      OutputCopy::store(o + rows.offset(p_, p_.o_strides, at.warp_row), tile, p_.o_strides.row, count - at.warp_row,
                        at.lane);
    } else {
      OutputCopy::store_rows(tile, count - at.warp_row, at.lane,
                             [&](i32 row) { return o + rows.offset(p_, p_.o_strides, at.warp_row + row); });
    }
  }
}

}  // namespace kiln::device

extern "C" __global__ void __launch_bounds__(kiln::device::kThreads, kiln::config::kCtasPerSm)
    kiln_forward(const __grid_constant__ kiln::device::ForwardParams p) {
  using namespace kiln::device;
  alignas(kSmemAlignment) extern __shared__ unsigned char smem_bytes[];
  Smem& smem = *reinterpret_cast<Smem*>(smem_bytes);
  follow_in_stream();
  const u32 thread = threadIdx.x;
  const Rows rows = Rows::of_block(p, blockIdx.x, thread % kWarpSize);
  if (rows.nothing_to_do(p)) return;
  const Band band = band_of(p, rows);
  const Keys keys(p, rows, band);
  const Places places{ptx::cvta_to_shared(&smem)};

  using QueryCopy = TileCopy<kiln::config::kTileM, kiln::config::kHeadDimQk, kThreads>;
  const auto* const q = static_cast<const Element::Storage*>(p.q);
  if (p.heads.count == 1) {
    QueryCopy::load(places.smem, q + rows.offset(p, p.q_strides, 0), p.q_strides.row, rows.count(p), thread);
  } else {
    QueryCopy::load_rows(places.smem, rows.count(p), thread,
                         [&](i32 row) { return q + rows.offset(p, p.q_strides, row); });
  }
  if constexpr (kiln::config::kPaged) {
#pragma unroll 1
    for (i32 ahead = 0; ahead < (kOnePlace ? 1 : kAhead + 1); ++ahead) {
      look_up_pages(p, keys, smem, keys.tiles.begin + ahead);
    }
    __syncthreads();
  }
#pragma unroll
  for (i32 ahead = 0; ahead < kAhead; ++ahead) {  // Q lands with the first
    start_copy<copied()>(p, keys, keys.tiles.end, smem, places, keys.tiles.begin + ahead);
  }
  if (thread == 0) smem.waiting = {rows, band, keys};
  ptx::cp_async_wait_group<kAhead - 1>();
  const ScoreScale scale(p.scale_log2);
  if (scale.negate_q) QueryCopy::negate(smem.q, thread);
  __syncthreads();

  Consumer consumer(p, keys.tiles, smem, places, scale.magnitude, Position(thread));
  consumer.run();
  consumer.store();
}
