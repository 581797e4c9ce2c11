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
#include "device/decode_block.cuh"
#include "device/decode_merge.cuh"
#include "device/decode_plan.cuh"
#include "device/decode_producer.cuh"
#include "device/fragment.cuh"
#include "device/mask.cuh"
#include "device/online_softmax.cuh"
#include "device/params.cuh"
#include "device/ptx.cuh"
#include "device/score.cuh"
#include "device/stream_order.cuh"
#include "device/tile_copy.cuh"
#include "device/warp_tile.cuh"

namespace kiln::device {

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

  KILN_DEVICE i32 warp_row() const { return warp_ % warp_grid().rows * kWarpRows; }
  KILN_DEVICE i32 key_warp() const { return warp_ / warp_grid().rows; }

  KILN_DEVICE void run(Producer& producer, i32& stage, const Queries& q, Softmax& softmax, float scale, Output& o) {
    const LdmatrixLane k_lane = ldmatrix_chunks_first(lane_);
    const LdmatrixLane v_lane = ldmatrix_rows_first(lane_);
    const i32 tiles_end = work_.tiles.end;
#pragma unroll 1
    for (i32 t = work_.tiles.begin; t < tiles_end; ++t) {
      producer.wait();
      if constexpr (warp_grid().rows == 1) {
        __syncwarp();
      } else {
        __syncthreads();
      }
      producer.go_on(t - work_.tiles.begin);
      const i32 first_key = t * config::kTileN + key_warp() * kWarpKeys;
      const Place& place = smem_.place(stage);
      Scores s;
      multiply_qk(
          s, q,
          BlockAddresses<kChunksQk>(ptx::cvta_to_shared(place.k + key_warp() * kWarpKeys * kPaddedDimQk), k_lane));
      if constexpr (score_kind().changes_scores()) {
        change_scores<score_kind()>(s, p_, scale, lane_, first_key, work_.band.len_k,
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
    return make_score_row<score_kind()>(p_, rows_.batch, rows_.head(p_, existing), rows_.query(p_, existing),
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
            if ((words[token / 32] >> (token % 32) & 1) == 0) s[b][n][kRowsPerLane * r + i] = minus_inf();
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
  const float softmax_scale = score_kind().scales_scores() ? 1.0f : scale.magnitude;
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
      producer.wait();
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
