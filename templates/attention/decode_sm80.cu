// Decode attention for sm_80 and newer: one query token per sequence against its cache, on mma.sync.
//
// Contract. The query heads of one KV head are the rows of a 16-row tile (more heads: several tiles).
// A block computes one (sequence, KV head, row tile) over its share of the keys; shares follow from
// the sequence's length, read here. If the keys are shared by several blocks, the last one to finish
// merges all partial results, in the order of the splits, so results repeat bitwise. Cache rows at or
// beyond the length are never read. No visible key: o = 0 and lse = −inf.
//
// Roles. Each warp owns kWarpKeys keys of every tile, copies them for itself and keeps its own m, l and
// O for all 16 rows: warps never wait for each other between the first tile and the last.
//
// Shared memory. K and V tiles go round kStages places; a warp uses its own rows of each:
//
//   step t:  wait for my warp's copies of tile t → __syncwarp → start those of tile t + kStages − 1
//            → S = Q K[t]ᵀ → mask → softmax → O += P V[t]
//
// After the last tile the places are laid over with the warps' O, which all threads then merge.
//
// Workspace (decode_workspace.cuh). A counter per (sequence, KV head, row tile), zero between launches:
// the release and acquire of its atomic add order the partial results before their reading. The merging
// block sets it back.
#include "default_config.cuh"
#include "device/base.cuh"
#include "device/element.cuh"
#include "device/fragment.cuh"
#include "device/mask.cuh"
#include "device/online_softmax.cuh"
#include "device/params.cuh"
#include "device/ptx.cuh"
#include "device/smem_plan.cuh"
#include "device/split_plan.cuh"
#include "device/tile_copy.cuh"
#include "device/tile_schedule.cuh"
#include "device/warp_tile.cuh"

namespace kiln::device {

inline constexpr u32 kThreads = config::kWarps * kWarpSize;
inline constexpr i32 kWarpKeys = config::kTileN / config::kWarps;
inline constexpr i32 kScoreBlocks = kWarpKeys / kMmaN;
inline constexpr i32 kOutputBlocks = config::kHeadDimV / kMmaN;

static_assert(config::kTileM == kDecodeRows, "the rows of one mma");
static_assert(kWarpKeys % kMmaK == 0 && kWarpKeys > 0, "a warp's keys are whole k steps of P V");
static_assert(config::kHeadDimQk % kMmaN == 0 && config::kHeadDimV % kMmaN == 0);
static_assert(config::kStages >= 2, "the copy of one tile runs under the arithmetic of another");

struct alignas(128) Smem {
  struct KeysValues {
    Element::Storage k[config::kStages][config::kTileN * kPaddedDimQk];
    Element::Storage v[config::kStages][config::kTileN * kPaddedDimV];
  };
  struct WarpStates {
    float o[config::kWarps][kDecodeRows][config::kHeadDimV + kDecodeRowPad];
    float m[config::kWarps][kDecodeRows];
    float l[config::kWarps][kDecodeRows];
  };
  union {
    KeysValues kv;
    WarpStates state;
  };
  Element::Storage q[kDecodeRows * kPaddedDimQk];
};
static_assert(sizeof(Smem) == config::kSmemBytes);
static_assert(sizeof(Smem) == decode_smem_bytes(config::kDType, config::kHeadDimQk, config::kHeadDimV, config::kTileN,
                                                config::kStages, config::kWarps));

using Scores = float[1][kScoreBlocks][kAccumulators];
using Output = float[1][kOutputBlocks][kAccumulators];
using Softmax = OnlineSoftmax<1>;

/// Q stays in registers where they hold it beside S, O and some 110 others; else it is read again for each tile.
inline constexpr i32 kTileRegisters =
    kAccumulators * (kScoreBlocks + kOutputBlocks) + 4 * k_steps(config::kHeadDimQk, config::kDType);
inline constexpr bool kQInRegisters = kTileRegisters + 110 <= 255;
using Queries = QueryRows<config::kHeadDimQk, 1, kQInRegisters>;

/// What a block works on, and where it lies in memory.
struct Tile {
  i32 batch;
  i32 kv_head;
  i32 row_tile;
  i32 split;
  i32 head_begin;  // query head of row 0
  i32 rows;        // ≤ kDecodeRows

  KILN_DEVICE Tile(const DecodeParams& p, u32 block) {
    const DecodeTile tile = decode_schedule(p.batch, p.heads_q, p.heads_kv, p.splits).tile_of(block);
    batch = tile.batch;
    kv_head = tile.kv_head;
    row_tile = tile.row_tile;
    split = tile.split;
    head_begin = kv_head * p.group + row_tile * kDecodeRows;
    rows = min(kDecodeRows, p.group - row_tile * kDecodeRows);
  }

  KILN_DEVICE const Element::Storage* q(const DecodeParams& p) const {
    return static_cast<const Element::Storage*>(p.q) + batch * p.q_strides.batch + head_begin * p.q_strides.head;
  }

  KILN_DEVICE KeyRange keys(const DecodeParams& p) const {
    const i32 length = p.lengths == nullptr ? p.max_len_k : p.lengths[batch];
    return decode_keys(length, p.max_len_k, config::kSlidingWindow, p.window_left);
  }
};

/// The way of one warp through its keys of the block's share of tiles.
class Consumer {
 public:
  KILN_DEVICE Consumer(const DecodeParams& p, const Tile& tile, Smem& smem, KeyRange keys, TileSpan share, u32 thread)
      : p_(p),
        smem_(smem),
        keys_(keys),
        share_(share),
        warp_key_(static_cast<i32>(thread / kWarpSize) * kWarpKeys),
        lane_(thread % kWarpSize),
        next_(share.begin),
        k_(static_cast<const Element::Storage*>(p.k) + tile.batch * p.k_strides.batch +
           tile.kv_head * p.k_strides.head),
        v_(static_cast<const Element::Storage*>(p.v) + tile.batch * p.v_strides.batch +
           tile.kv_head * p.v_strides.head) {}

  /// Copies this warp's keys of the next tile of the share: one commit group, empty at the end.
  KILN_DEVICE void start_next_copy() {
    if (next_ < share_.end) {
      const i32 first_key = next_ * config::kTileN + warp_key_;
      const i32 valid = keys_.end - first_key;
      // A warp whose keys all lie beyond the end must not form their address.
      const i64 row = valid > 0 ? first_key : 0;
      TileCopy<kWarpKeys, config::kHeadDimQk, kWarpSize>::load(k_address(copy_stage_), k_ + row * p_.k_strides.row,
                                                               p_.k_strides.row, valid, lane_);
      TileCopy<kWarpKeys, config::kHeadDimV, kWarpSize>::load(v_address(copy_stage_), v_ + row * p_.v_strides.row,
                                                              p_.v_strides.row, valid, lane_);
    }
    ptx::cp_async_commit_group();
    ++next_;
    copy_stage_ = following(copy_stage_);
  }

  KILN_DEVICE void run(const Queries& q, Softmax& softmax, Output& o) {
    const LdmatrixLane k_lane = ldmatrix_chunks_first(lane_);
    const LdmatrixLane v_lane = ldmatrix_rows_first(lane_);
    i32 stage = 0;
#pragma unroll 1
    for (i32 t = share_.begin; t < share_.end; ++t) {
      ptx::cp_async_wait_group<config::kStages - 2>();
      __syncwarp();
      start_next_copy();
      Scores s;
      multiply_qk(s, q, BlockAddresses<kChunksQk>(k_address(stage), k_lane));
      // Memory bounds this loop, not arithmetic: every tile is masked, which keeps the code short.
      apply_mask<config::kSlidingWindow>(s, lane_, t * config::kTileN + warp_key_, [&](i32, i32) { return keys_; });
      softmax.update(s, o);
      multiply_pv(o, s, BlockAddresses<kChunksV>(v_address(stage), v_lane));
      stage = following(stage);
    }
    softmax.finish();
  }

 private:
  KILN_DEVICE static i32 following(i32 stage) { return stage + 1 == config::kStages ? 0 : stage + 1; }
  KILN_DEVICE u32 k_address(i32 stage) const {
    return ptx::cvta_to_shared(smem_.kv.k[stage] + warp_key_ * kPaddedDimQk);
  }
  KILN_DEVICE u32 v_address(i32 stage) const {
    return ptx::cvta_to_shared(smem_.kv.v[stage] + warp_key_ * kPaddedDimV);
  }

  const DecodeParams& p_;
  Smem& smem_;
  KeyRange keys_;
  TileSpan share_;
  i32 warp_key_;
  u32 lane_;
  i32 next_;
  i32 copy_stage_ = 0;
  const Element::Storage* k_;
  const Element::Storage* v_;
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

/// Lays a warp's state where all threads can read it.
KILN_DEVICE void publish(Smem& smem, const Softmax& softmax, const Output& o, u32 thread) {
  const u32 warp = thread / kWarpSize;
  const u32 lane = thread % kWarpSize;
#pragma unroll
  for (i32 r = 0; r < kRowsPerLane; ++r) {
    const Coordinate at = accumulator_coordinate(lane, r * kRowsPerLane);
    if (lane % kQuad == 0) {
      smem.state.m[warp][at.row] = softmax.m[0][r];
      smem.state.l[warp][at.row] = softmax.l[0][r];
    }
#pragma unroll
    for (i32 n = 0; n < kOutputBlocks; ++n) {
      float* to = &smem.state.o[warp][at.row][n * kMmaN + at.column];
      to[0] = o[0][n][r * kRowsPerLane];
      to[1] = o[0][n][r * kRowsPerLane + 1];
    }
  }
}

/// Columns column … column + 3 of a row, over all warps of the block.
KILN_DEVICE Piece merge_warps(const Smem& smem, i32 row, i32 column, float scale) {
  float top = kBeforeKeys;
#pragma unroll
  for (i32 w = 0; w < config::kWarps; ++w) top = max(top, smem.state.m[w][row]);
  Vector o{};
  float weight = 0;
#pragma unroll
  for (i32 w = 0; w < config::kWarps; ++w) {
    const float factor = ptx::ex2_approx_ftz_f32((smem.state.m[w][row] - top) * scale);
    weight += factor * smem.state.l[w][row];
    add_scaled(o, *reinterpret_cast<const Vector*>(&smem.state.o[w][row][column]), factor);
  }
  return normalised(o, weight, top * scale);
}

/// The same over the partial results of `working` splits of one head, in their order.
KILN_DEVICE Piece merge_splits(const float* lse, const float* o, i32 column, i32 working) {
  float top = kMinusInf;
  for (i32 s = 0; s < working; ++s) top = max(top, lse[s]);
  const float origin = top == kMinusInf ? 0.0f : top;
  Vector sum{};
  float weight = 0;
#pragma unroll 4
  for (i32 s = 0; s < working; ++s) {
    const float factor = ptx::ex2_approx_ftz_f32(lse[s] - origin);
    weight += factor;
    add_scaled(sum, *reinterpret_cast<const Vector*>(o + s * config::kHeadDimV + column), factor);
  }
  return normalised(sum, weight, origin);
}

/// Calls f(row, column) for every piece of the tile's rows, shared out over the threads.
template <class F>
KILN_DEVICE void for_pieces(i32 rows, u32 thread, F f) {
  constexpr u32 kPerRow = config::kHeadDimV / kVector;
  for (u32 piece = thread; piece < static_cast<u32>(rows) * kPerRow; piece += kThreads) {
    f(static_cast<i32>(piece / kPerRow), static_cast<i32>(piece % kPerRow) * kVector);
  }
}

KILN_DEVICE void write_result(const DecodeParams& p, const Tile& tile, i32 row, i32 column, const Piece& piece) {
  const i32 head = tile.head_begin + row;
  Element::Storage* o =
      static_cast<Element::Storage*>(p.o) + tile.batch * p.o_strides.batch + head * p.o_strides.head + column;
  const float(&x)[kVector] = piece.o.x;
  *reinterpret_cast<PackedVector*>(o) = {Element::pack(x[0], x[1]), Element::pack(x[2], x[3])};
  if (p.lse != nullptr && column == 0) p.lse[i64{tile.batch} * p.heads_q + head] = piece.lse * kLn2;
}

/// Index of (sequence, head of row, split 0) among the partial results.
KILN_DEVICE i64 partial_index(const DecodeParams& p, const Tile& tile, i32 row) {
  return (i64{tile.batch} * p.heads_q + tile.head_begin + row) * p.splits;
}

/// True in all threads of the last block of this (sequence, KV head, row tile) to come here; it then
/// sees what the others wrote before.
KILN_DEVICE bool arrive_last(const DecodeParams& p, const Tile& tile, i32 working, u32 thread) {
  const i32 row_tiles = ceil_div(p.group, kDecodeRows);
  i32* counter = p.counters + (i64{tile.batch} * p.heads_kv + tile.kv_head) * row_tiles + tile.row_tile;
  __syncthreads();  // all threads' partial results come before thread 0's release
  bool last = false;
  if (thread == 0) {
    last = ptx::atom_add_acq_rel_gpu(counter, 1) == working - 1;
    if (last) *counter = 0;
  }
  return __syncthreads_or(last) != 0;
}

}  // namespace kiln::device

extern "C" __global__ void __launch_bounds__(kiln::device::kThreads, kiln::config::kCtasPerSm)
    kiln_decode(const __grid_constant__ kiln::device::DecodeParams p) {
  using namespace kiln::device;
  namespace config = kiln::config;
  alignas(128) extern __shared__ unsigned char smem_bytes[];
  Smem& smem = *reinterpret_cast<Smem*>(smem_bytes);
  const u32 thread = threadIdx.x;
  const Tile tile(p, blockIdx.x);
  const KeyRange keys = tile.keys(p);
  const SplitPlan plan = plan_splits(keys, config::kTileN, p.splits);
  if (tile.split >= plan.working) return;

  // Q, a group of its own, is on its way before the first keys.
  using QueryCopy = TileCopy<kDecodeRows, config::kHeadDimQk, kThreads>;
  QueryCopy::load(ptx::cvta_to_shared(smem.q), tile.q(p), p.q_strides.head, tile.rows, thread);
  ptx::cp_async_commit_group();
  Consumer consumer(p, tile, smem, keys, plan.share(tile.split), thread);
#pragma unroll
  for (i32 ahead = 0; ahead < config::kStages - 1; ++ahead) consumer.start_next_copy();
  ptx::cp_async_wait_group<config::kStages - 1>();
  const ScoreScale scale(p.scale_log2);
  if (scale.negate_q) QueryCopy::negate(smem.q, thread);
  __syncthreads();

  const Queries q(ptx::cvta_to_shared(smem.q), thread % kWarpSize);
  Softmax softmax(scale.magnitude);
  Output o{};
  consumer.run(q, softmax, o);

  __syncthreads();  // every warp has read its last keys
  publish(smem, softmax, o, thread);
  __syncthreads();
  if (plan.working == 1) {
    for_pieces(tile.rows, thread, [&](i32 row, i32 column) {
      write_result(p, tile, row, column, merge_warps(smem, row, column, scale.magnitude));
    });
    return;
  }
  for_pieces(tile.rows, thread, [&](i32 row, i32 column) {
    const Piece piece = merge_warps(smem, row, column, scale.magnitude);
    const i64 state = partial_index(p, tile, row) + tile.split;
    *reinterpret_cast<Vector*>(p.partial_o + state * config::kHeadDimV + column) = piece.o;
    if (column == 0) p.partial_lse[state] = piece.lse;
  });
  if (!arrive_last(p, tile, plan.working, thread)) return;
  for_pieces(tile.rows, thread, [&](i32 row, i32 column) {
    const i64 state = partial_index(p, tile, row);
    write_result(p, tile, row, column,
                 merge_splits(p.partial_lse + state, p.partial_o + state * config::kHeadDimV, column, plan.working));
  });
}
