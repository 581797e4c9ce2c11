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
static_assert(config::kHeadDimQk % kMmaN == 0 && config::kHeadDimV % kMmaN == 0);
static_assert(config::kStages >= 2, "the copy of one tile runs under the arithmetic of another");

/// Q stays in registers where S, O and it leave kOtherRegisters for the rest; else it is read again
/// for each tile of keys.
inline constexpr i32 kOtherRegisters = 64;
inline constexpr i32 kRegisterFile = 65536;
inline constexpr i32 kRegisters = min(kRegisterFile / static_cast<i32>(kThreads * config::kCtasPerSm), 255);
inline constexpr i32 kTileRegisters =
    kRowBlocks * (kAccumulators * (kScoreBlocks + kOutputBlocks) + 4 * k_steps(config::kHeadDimQk, config::kDType));
inline constexpr bool kQInRegisters = kTileRegisters + kOtherRegisters <= kRegisters;

KILN_DEVICE ForwardSchedule schedule(const ForwardParams& p) {
  return {.m_tiles = ceil_div(p.len_q, config::kTileM),
          .group = p.group,
          .heads_kv = p.heads_kv,
          .streams = p.batch * p.heads_kv,
          .bundle = p.bundle};
}

/// The rows of Q and O that a block works on.
struct Rows {
  ForwardTile tile;

  KILN_DEVICE i32 begin() const { return tile.m_tile * config::kTileM; }
  KILN_DEVICE i32 count(const ForwardParams& p) const { return min(config::kTileM, p.len_q - begin()); }
  /// The first row.
  KILN_DEVICE const Element::Storage* q(const ForwardParams& p) const {
    return static_cast<const Element::Storage*>(p.q) + offset(p.q_strides);
  }
  template <class Storage>
  KILN_DEVICE Storage* o(const ForwardParams& p) const {
    return static_cast<Storage*>(p.o) + offset(p.o_strides);
  }
  KILN_DEVICE float* lse(const ForwardParams& p) const {
    return p.lse + (i64{tile.batch} * p.heads_q + tile.head) * p.len_q + begin();
  }

 private:
  KILN_DEVICE i64 offset(const Strides& strides) const {
    return tile.batch * strides.batch + tile.head * strides.head + begin() * strides.row;
  }
};

struct alignas(128) Smem {
  union {
    Element::Storage q[config::kTileM * kPaddedDimQk];
    Element::Storage o[config::kTileM * kPaddedDimV];
  };
  Element::Storage k[config::kStages][config::kTileN * kPaddedDimQk];
  Element::Storage v[config::kStages][config::kTileN * kPaddedDimV];
  Rows rows;  // waits here for the end: registers are short in between
};
static_assert(sizeof(Smem) == config::kSmemBytes);
static_assert(sizeof(Smem) == forward_smem_bytes(config::kDType, config::kHeadDimQk, config::kHeadDimV, config::kTileM,
                                                 config::kTileN, config::kStages));

/// Shared addresses of the places of K and V, all from one register.
struct Places {
  static constexpr u32 kKeys = max(sizeof(Smem::q), sizeof(Smem::o));
  static constexpr u32 kValues = kKeys + sizeof(Smem::k);
  u32 smem;

  /// Of tile t. Tiles go round the places.
  KILN_DEVICE u32 k(i32 t) const { return smem + kKeys + stage(t) * static_cast<u32>(sizeof(Smem::k[0])); }
  KILN_DEVICE u32 v(i32 t) const { return smem + kValues + stage(t) * static_cast<u32>(sizeof(Smem::v[0])); }

 private:
  KILN_DEVICE static u32 stage(i32 t) { return static_cast<u32>(t) % config::kStages; }
};

using Scores = float[kRowBlocks][kScoreBlocks][kAccumulators];
using Output = float[kRowBlocks][kOutputBlocks][kAccumulators];
using Softmax = OnlineSoftmax<kRowBlocks>;
using KeyTile = BlockAddresses<kChunksQk>;
using ValueTile = Element::Values<kChunksV>;
using Queries = QueryRows<config::kHeadDimQk, kRowBlocks, kQInRegisters>;

/// The keys that a block works on: what it keeps in registers through the loop.
struct Keys {
  Band band;  // its row 0 is the block's first
  TileRange tiles;
  const Element::Storage* k;  // key 0 of the KV head
  const Element::Storage* v;

  KILN_DEVICE Keys(const ForwardParams& p, const Rows& rows)
      : band(make_band(kMask, p.len_q, p.len_k, p.window_left, p.window_right, rows.begin())),
        tiles(tile_range(band, rows.count(p), config::kTileN)),
        k(static_cast<const Element::Storage*>(p.k) + offset(p, p.k_strides, rows.tile)),
        v(static_cast<const Element::Storage*>(p.v) + offset(p, p.v_strides, rows.tile)) {}

 private:
  KILN_DEVICE static i64 offset(const ForwardParams& p, const Strides& strides, const ForwardTile& tile) {
    return tile.batch * strides.batch + tile.head / p.group * strides.head;
  }
};

/// Starts the copy of tile t of K and V: one commit group, empty if there is no such tile, since the waits count
/// groups.
KILN_DEVICE void start_copy(const ForwardParams& p, const Keys& keys, const Places& places, i32 t) {
  if (t < keys.tiles.end) {
    const u32 thread = ptx::mov_tid_x();
    const i32 first_key = t * config::kTileN;
    const i32 valid = p.len_k - first_key;
    TileCopy<config::kTileN, config::kHeadDimQk, kThreads>::load(places.k(t), keys.k + first_key * p.k_strides.row,
                                                                 p.k_strides.row, valid, thread);
    TileCopy<config::kTileN, config::kHeadDimV, kThreads>::load(places.v(t), keys.v + first_key * p.v_strides.row,
                                                                p.v_strides.row, valid, thread);
  }
  ptx::cp_async_commit_group();
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
  KILN_DEVICE Consumer(const ForwardParams& p, const Keys& keys, Smem& smem, const Places& places, float scale,
                       Position at)
      : p_(p),
        keys_(keys),
        smem_(smem),
        places_(places),
        softmax_(scale),
        q_(ptx::cvta_to_shared(smem.q + at.warp_row * kPaddedDimQk), at.lane),
        o_{} {}

  KILN_DEVICE void run() {
#pragma unroll 1
    for (i32 t = keys_.tiles.begin; t < keys_.tiles.end; ++t) step(t);
    softmax_.finish();
  }

  KILN_DEVICE void store();

 private:
  KILN_DEVICE void step(i32 t) {
    ptx::cp_async_wait_group<config::kStages - 2>();
    __syncthreads();
    start_copy(p_, keys_, places_, t + config::kStages - 1);
    Scores s;
    multiply_qk(s, q_, KeyTile(places_.k(t), ldmatrix_chunks_first(Position().lane)));
    const i32 first_key = t * config::kTileN;
    if (!keys_.band.shows_all({first_key, first_key + config::kTileN}, config::kTileM)) {
      const Position at;
      apply_mask<config::kSlidingWindow>(s, at.lane, first_key,
                                         [&](i32 b, i32 r) { return keys_.band.limits_of_row(at.row(b, r)); });
    }
    softmax_.update(s, o_);
    multiply_pv(o_, s, ValueTile(places_.v(t), Element::value_lane(Position().lane)));
  }

  const ForwardParams& p_;
  const Keys& keys_;
  Smem& smem_;
  const Places& places_;
  Softmax softmax_;
  Queries q_;
  Output o_;
};

/// O of 16 bits through shared memory, O of floats and LSE straight.
KILN_DEVICE void Consumer::store() {
  const Position at;
  const Rows rows = smem_.rows;
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
        if (row < count) write_row(rows.o<float>(p_) + row * p_.o_strides.row, o_[b], r, inverse, at.lane);
      } else {
        lay_row<Element, kChunksV>(smem_.o, row, o_[b], r, inverse, at.lane);
      }
      if (p_.lse != nullptr && at.lane % kQuad == 0 && row < count) {
        rows.lse(p_)[row] = softmax_.lse(b, r);
      }
    }
  }
  if constexpr (!kFloatOutput) {
    __syncwarp();
    using OutputCopy = TileCopy<kWarpRows, config::kHeadDimV, kWarpSize>;
    OutputCopy::store(rows.o<Element::Storage>(p_) + at.warp_row * p_.o_strides.row,
                      smem_.o + at.warp_row * kPaddedDimV, p_.o_strides.row, count - at.warp_row, at.lane);
  }
}

}  // namespace kiln::device

extern "C" __global__ void __launch_bounds__(kiln::device::kThreads, kiln::config::kCtasPerSm)
    kiln_forward(const __grid_constant__ kiln::device::ForwardParams p) {
  using namespace kiln::device;
  alignas(128) extern __shared__ unsigned char smem_bytes[];
  Smem& smem = *reinterpret_cast<Smem*>(smem_bytes);
  const u32 thread = threadIdx.x;
  const Rows rows{schedule(p).tile_of(blockIdx.x, kiln::config::kCausal)};
  const Keys keys(p, rows);
  const Places places{ptx::cvta_to_shared(&smem)};

  using QueryCopy = TileCopy<kiln::config::kTileM, kiln::config::kHeadDimQk, kThreads>;
  QueryCopy::load(places.smem, rows.q(p), p.q_strides.row, rows.count(p), thread);
#pragma unroll
  for (i32 ahead = 0; ahead < kiln::config::kStages - 1; ++ahead) {  // Q lands with the first
    start_copy(p, keys, places, keys.tiles.begin + ahead);
  }
  if (thread == 0) smem.rows = rows;
  ptx::cp_async_wait_group<kiln::config::kStages - 2>();
  const ScoreScale scale(p.scale_log2);
  if (scale.negate_q) QueryCopy::negate(smem.q, thread);
  __syncthreads();

  Consumer consumer(p, keys, smem, places, scale.magnitude, Position(thread));
  consumer.run();
  consumer.store();
}
