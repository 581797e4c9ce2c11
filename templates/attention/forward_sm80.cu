// Forward attention for sm_80 and newer: o = softmax(scale · q kᵀ + mask) v, on mma.sync.
//
// Contract. One block computes kTileM query rows of one head of one sequence, over all the keys that
// those rows see. Any lengths, any 64-bit strides; pointers and strides are multiples of 16 bytes. K
// and V rows at or beyond len_k are never read. A row that sees no key gets o = 0 and lse = −inf. The
// sum over keys runs in one fixed order, so results repeat bitwise.
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
// step t − 1, whose place the new copies take. Q keeps its place to the end, where each warp lays its
// rows of O over it to write them out in whole sectors.
#include "default_config.cuh"
#include "device/base.cuh"
#include "device/element.cuh"
#include "device/fragment.cuh"
#include "device/mask.cuh"
#include "device/online_softmax.cuh"
#include "device/params.cuh"
#include "device/ptx.cuh"
#include "device/smem_plan.cuh"
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
inline constexpr MaskKind kMask{config::kCausal, config::kAlignTopLeft, config::kSlidingWindow};

static_assert(kWarpRows % kMmaM == 0 && kWarpRows > 0, "a warp owns whole 16-row blocks");
static_assert(config::kTileN % kMmaK == 0, "a tile of keys is a whole number of k steps of P V");
static_assert(config::kHeadDimQk % kMmaK == 0 && config::kHeadDimV % (2 * kMmaN) == 0);
static_assert(config::kStages >= 2, "the copy of one tile runs under the arithmetic of another");

/// Q stays in registers where S, O and it leave kOtherRegisters for the rest; else it is read again
/// for each tile of keys.
inline constexpr i32 kOtherRegisters = 64;
inline constexpr i32 kRegisterFile = 65536;
inline constexpr i32 kRegisters = min(kRegisterFile / static_cast<i32>(kThreads * config::kCtasPerSm), 255);
inline constexpr i32 kTileRegisters =
    kRowBlocks * (kAccumulators * (kScoreBlocks + kOutputBlocks) + 4 * config::kHeadDimQk / kMmaK);
inline constexpr bool kQInRegisters = kTileRegisters + kOtherRegisters <= kRegisters;

struct alignas(128) Smem {
  union {
    u16 q[config::kTileM * config::kHeadDimQk];
    u16 o[config::kTileM * config::kHeadDimV];
  };
  u16 k[config::kStages][config::kTileN * config::kHeadDimQk];
  u16 v[config::kStages][config::kTileN * config::kHeadDimV];
};
static_assert(sizeof(Smem) == config::kSmemBytes);
static_assert(sizeof(Smem) == forward_smem_bytes(config::kHeadDimQk, config::kHeadDimV, config::kTileM, config::kTileN,
                                                 config::kStages));

/// Shared addresses of the places of K and V.
struct Places {
  u32 k_first;
  u32 v_first;

  KILN_DEVICE explicit Places(const Smem& smem)
      : k_first(ptx::cvta_to_shared(smem.k)), v_first(ptx::cvta_to_shared(smem.v)) {}
  KILN_DEVICE u32 k(u32 stage) const { return k_first + static_cast<u32>(stage * sizeof(Smem::k[0])); }
  KILN_DEVICE u32 v(u32 stage) const { return v_first + static_cast<u32>(stage * sizeof(Smem::v[0])); }
  KILN_DEVICE static u32 next(u32 stage) { return stage + 1 == config::kStages ? 0 : stage + 1; }
};

using Scores = float[kRowBlocks][kScoreBlocks][kAccumulators];
using Output = float[kRowBlocks][kOutputBlocks][kAccumulators];
using Softmax = OnlineSoftmax<kRowBlocks>;
using KeyTile = BlockAddresses<config::kHeadDimQk>;
using ValueTile = BlockAddresses<config::kHeadDimV>;
using Queries = QueryRows<config::kHeadDimQk, kRowBlocks, kQInRegisters>;

/// What a block works on, and where it lies in memory.
struct Tile {
  i32 head;
  i32 batch;
  i32 row_begin;
  i32 rows;  // ≤ kTileM
  Band band;
  TileRange keys;
  const u16* q;  // the tile's first row
  const u16* k;  // key 0 of the KV head
  const u16* v;
  u16* o;

  KILN_DEVICE Tile(const ForwardParams& p, u32 block) {
    const ForwardSchedule schedule = forward_schedule(p.batch, p.heads_q, p.heads_kv, p.len_q, p.len_k, config::kTileM,
                                                      config::kHeadDimQk, config::kHeadDimV);
    const ForwardTile tile = schedule.tile_of(block, config::kCausal);
    head = tile.head;
    batch = tile.batch;
    row_begin = tile.m_tile * config::kTileM;
    rows = min(config::kTileM, p.len_q - row_begin);
    band = make_band(kMask, p.len_q, p.len_k, p.window_left, p.window_right);
    keys = tile_range(band, row_begin, row_begin + rows, config::kTileN);
    const i32 kv_head = head / p.group;
    q = static_cast<const u16*>(p.q) + offset(p.q_strides, head) + row_begin * p.q_strides.row;
    k = static_cast<const u16*>(p.k) + offset(p.k_strides, kv_head);
    v = static_cast<const u16*>(p.v) + offset(p.v_strides, kv_head);
    o = static_cast<u16*>(p.o) + offset(p.o_strides, head) + row_begin * p.o_strides.row;
  }

 private:
  KILN_DEVICE i64 offset(const Strides& strides, i32 of_head) const {
    return batch * strides.batch + of_head * strides.head;
  }
};

/// Copies the tiles of K and V in order, one commit group a tile.
class KeyValueCopies {
 public:
  KILN_DEVICE KeyValueCopies(const ForwardParams& p, const Tile& tile, const Places& places)
      : p_(p), tile_(tile), places_(places), next_(tile.keys.begin) {}

  KILN_DEVICE void start_next() {
    if (next_ < tile_.keys.end) {
      const u32 thread = ptx::mov_tid_x();
      const i32 first_key = next_ * config::kTileN;
      const i32 valid = p_.len_k - first_key;
      TileCopy<config::kTileN, config::kHeadDimQk, kThreads>::load(
          places_.k(stage_), tile_.k + first_key * p_.k_strides.row, p_.k_strides.row, valid, thread);
      TileCopy<config::kTileN, config::kHeadDimV, kThreads>::load(
          places_.v(stage_), tile_.v + first_key * p_.v_strides.row, p_.v_strides.row, valid, thread);
    }
    ptx::cp_async_commit_group();  // empty ones too: the waits count groups
    ++next_;
    stage_ = Places::next(stage_);
  }

 private:
  const ForwardParams& p_;
  const Tile& tile_;
  const Places& places_;
  i32 next_;
  u32 stage_ = 0;
};

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
  KILN_DEVICE Consumer(const Tile& tile, Smem& smem, const Places& places, KeyValueCopies& copies, float scale,
                       Position at)
      : tile_(tile),
        smem_(smem),
        places_(places),
        copies_(copies),
        softmax_(scale),
        q_(ptx::cvta_to_shared(smem.q + at.warp_row * config::kHeadDimQk), at.lane),
        o_{} {}

  KILN_DEVICE void run() {
    i32 t = tile_.keys.begin;
    if constexpr (config::kSlidingWindow) {
#pragma unroll 1
      for (; t < tile_.keys.full_begin; ++t) step<true>(t);
    }
#pragma unroll 1
    for (; t < tile_.keys.full_end; ++t) step<false>(t);
#pragma unroll 1
    for (; t < tile_.keys.end; ++t) step<true>(t);
    softmax_.finish();
  }

  KILN_DEVICE void store(const ForwardParams& p);

 private:
  template <bool kMasked>
  KILN_DEVICE void step(i32 t) {
    ptx::cp_async_wait_group<config::kStages - 2>();
    __syncthreads();
    copies_.start_next();
    Scores s;
    multiply_qk<config::kBf16>(s, q_, KeyTile(places_.k(stage_), ldmatrix_chunks_first(Position().lane)));
    if constexpr (kMasked) {
      const Position at;
      apply_mask<config::kSlidingWindow>(s, at.lane, t * config::kTileN, [&](i32 b, i32 r) {
        return tile_.band.limits_of_row(tile_.row_begin + at.row(b, r));
      });
    }
    softmax_.update<kMasked>(s, o_);
    multiply_pv<config::kBf16>(o_, s, ValueTile(places_.v(stage_), ldmatrix_rows_first(Position().lane)));
    stage_ = Places::next(stage_);
  }

  const Tile& tile_;
  Smem& smem_;
  const Places& places_;
  KeyValueCopies& copies_;
  Softmax softmax_;
  Queries q_;
  Output o_;
  u32 stage_ = 0;
};

/// O through shared memory, LSE straight.
KILN_DEVICE void Consumer::store(const ForwardParams& p) {
  using OutputTile = SwizzledTile<config::kHeadDimV>;
  const Position at;
  // O goes where Q was, so whoever reads Q must be done: a warp's rows of O cover exactly its own rows of Q,
  // unless their lengths differ.
  if constexpr (config::kHeadDimQk == config::kHeadDimV) {
    __syncwarp();
  } else {
    __syncthreads();
  }
#pragma unroll
  for (i32 b = 0; b < kRowBlocks; ++b) {
#pragma unroll
    for (i32 r = 0; r < kRowsPerLane; ++r) {
      const float l = softmax_.l[b][r];
      const float inverse = l == 0.0f ? 0.0f : ptx::rcp_approx_ftz_f32(l);
      const i32 row = at.row(b, r);
      char* o_row = reinterpret_cast<char*>(smem_.o);
#pragma unroll
      for (i32 n = 0; n < kOutputBlocks; ++n) {
        const float(&x)[kAccumulators] = o_[b][n];
        const i32 in_chunk = accumulator_coordinate(at.lane, 0).column * kElementBytes;
        *reinterpret_cast<u32*>(o_row + OutputTile::offset(row, n) + in_chunk) =
            pack<config::kBf16>(x[kRowsPerLane * r] * inverse, x[kRowsPerLane * r + 1] * inverse);
      }
      if (p.lse != nullptr && at.lane % kQuad == 0 && row < tile_.rows) {
        const i64 head_row = (i64{tile_.batch} * p.heads_q + tile_.head) * p.len_q + tile_.row_begin;
        p.lse[head_row + row] = softmax_.lse(b, r);
      }
    }
  }
  __syncwarp();
  TileCopy<kWarpRows, config::kHeadDimV, kWarpSize>::store(tile_.o + at.warp_row * p.o_strides.row,
                                                           smem_.o + at.warp_row * config::kHeadDimV, p.o_strides.row,
                                                           tile_.rows - at.warp_row, at.lane);
}

}  // namespace kiln::device

extern "C" __global__ void __launch_bounds__(kiln::device::kThreads, kiln::config::kCtasPerSm)
    kiln_forward(const __grid_constant__ kiln::device::ForwardParams p) {
  using namespace kiln::device;
  alignas(128) extern __shared__ unsigned char smem_bytes[];
  Smem& smem = *reinterpret_cast<Smem*>(smem_bytes);
  const u32 thread = threadIdx.x;
  const Tile tile(p, blockIdx.x);
  const Places places(smem);
  KeyValueCopies copies(p, tile, places);

  using QueryCopy = TileCopy<kiln::config::kTileM, kiln::config::kHeadDimQk, kThreads>;
  QueryCopy::load(ptx::cvta_to_shared(smem.q), tile.q, p.q_strides.row, tile.rows, thread);
#pragma unroll
  for (i32 ahead = 0; ahead < kiln::config::kStages - 1; ++ahead) copies.start_next();  // Q lands with the first
  ptx::cp_async_wait_group<kiln::config::kStages - 2>();
  const ScoreScale scale(p.scale_log2);
  if (scale.negate_q) QueryCopy::negate(smem.q, thread);
  __syncthreads();

  Consumer consumer(tile, smem, places, copies, scale.magnitude, Position(thread));
  consumer.run();
  consumer.store(p);
}
