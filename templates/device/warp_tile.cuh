// What one warp does with its rows and a tile of keys: the two products and the mask.
// Results lie in registers as [16-row block][8-column block][accumulator].
#pragma once

#include "device/base.cuh"
#include "device/element.cuh"
#include "device/fragment.cuh"
#include "device/mask.cuh"
#include "device/online_softmax.cuh"
#include "device/ptx.cuh"

namespace kiln::device {

/// The A operands of kBlocks blocks of 16 rows of Q, read from shared memory when asked for, or, with
/// kInRegisters, once.
template <i32 kDim, i32 kBlocks, bool kInRegisters, class E = Element>
class QueryRows {
 public:
  static constexpr i32 kRowChunks = row_chunks(kDim, E::dtype());
  static constexpr i32 kSteps = k_steps(kDim, E::dtype());

  /// `rows`: shared address of the warp's first row.
  KILN_DEVICE QueryRows(u32 rows, u32 lane) : addresses_(rows, ldmatrix_rows_first(lane)) {
    if constexpr (kInRegisters) {
#pragma unroll
      for (i32 step = 0; step < kSteps; ++step) read(step, held_[step]);
    }
  }

  KILN_DEVICE void get(i32 step, u32 (&a)[kBlocks][4]) const {
    if constexpr (kInRegisters) {
#pragma unroll
      for (i32 b = 0; b < kBlocks; ++b) {
#pragma unroll
        for (i32 i = 0; i < 4; ++i) a[b][i] = held_[step][b][i];
      }
    } else {
      read(step, a);
    }
  }

 private:
  KILN_DEVICE void read(i32 step, u32 (&a)[kBlocks][4]) const {
    BlockAddresses<kRowChunks> addresses = addresses_;
    addresses.first = ptx::mov_b32(addresses.first);
#pragma unroll
    for (i32 b = 0; b < kBlocks; ++b) ptx::ldmatrix_x4(a[b], addresses.at(b, step));
  }

  BlockAddresses<kRowChunks> addresses_;
  u32 held_[kInRegisters ? kSteps : 1][kBlocks][4];
};

/// k steps that q · kᵀ does without a loop where Q is read again: over more, the compiler reads K so far ahead that
/// registers run out.
inline constexpr i32 kStepsInARow = 4;

/// s = q · kᵀ over the keys of `k_tile`.
template <i32 kDim, i32 kBlocks, i32 kScoreBlocks, bool kInRegisters, class E>
KILN_DEVICE void multiply_qk(float (&s)[kBlocks][kScoreBlocks][kAccumulators],
                             const QueryRows<kDim, kBlocks, kInRegisters, E>& q,
                             const BlockAddresses<row_chunks(kDim, E::dtype())>& k_tile) {
  constexpr i32 kSteps = QueryRows<kDim, kBlocks, kInRegisters, E>::kSteps;
#pragma unroll
  for (i32 b = 0; b < kBlocks; ++b) {
#pragma unroll
    for (i32 n = 0; n < kScoreBlocks; ++n) {
#pragma unroll
      for (i32 i = 0; i < kAccumulators; ++i) s[b][n][i] = 0;
    }
  }
#pragma unroll(kInRegisters || kBlocks == 1 ? kSteps : min(kStepsInARow, ceil_div(kSteps, 2)))
  for (i32 step = 0; step < kSteps; ++step) {
    u32 a[kBlocks][4];
    q.get(step, a);
#pragma unroll
    for (i32 n = 0; n < kScoreBlocks; n += 2) {
      u32 k[4];  // two 8-key blocks
      ptx::ldmatrix_x4(k, k_tile.at(n / 2, step));
#pragma unroll
      for (i32 b = 0; b < kBlocks; ++b) {
        E::mma(s[b][n], a[b], k[0], k[1]);
        E::mma(s[b][n + 1], a[b], k[2], k[3]);
      }
    }
  }
}

/// o += p · v over the keys of `v_tile`. The accumulators of two neighbouring 8-key blocks of
/// P, rounded, are an A operand as they lie.
template <class E = Element, i32 kBlocks, i32 kScoreBlocks, i32 kOutputBlocks, i32 kRowChunks>
KILN_DEVICE void multiply_pv(float (&o)[kBlocks][kOutputBlocks][kAccumulators],
                             const float (&p)[kBlocks][kScoreBlocks][kAccumulators],
                             const BlockAddresses<kRowChunks>& v_tile) {
#pragma unroll
  for (i32 step = 0; step < kScoreBlocks / 2; ++step) {
    u32 a[kBlocks][4];
#pragma unroll
    for (i32 b = 0; b < kBlocks; ++b) {
#pragma unroll
      for (i32 half = 0; half < 2; ++half) {
        const float(&block)[kAccumulators] = p[b][2 * step + half];
        a[b][2 * half] = E::pack(block[0], block[1]);
        a[b][2 * half + 1] = E::pack(block[2], block[3]);
      }
    }
#pragma unroll
    for (i32 n = 0; n < kOutputBlocks; n += 2) {
      u32 v[4];  // two 8-column blocks, the last one perhaps behind the dim
      ptx::ldmatrix_x4_trans(v, v_tile.at(step, n / 2));
#pragma unroll
      for (i32 b = 0; b < kBlocks; ++b) {
        E::mma(o[b][n], a[b], v[0], v[1]);
        if (n + 1 < kOutputBlocks) E::mma(o[b][n + 1], a[b], v[2], v[3]);
      }
    }
  }
}

/// The same of 32-bit elements: the accumulators of an 8-key block of P are an A operand as they lie.
template <class E = Element, i32 kBlocks, i32 kScoreBlocks, i32 kOutputBlocks, i32 kRowChunks>
KILN_DEVICE void multiply_pv(float (&o)[kBlocks][kOutputBlocks][kAccumulators],
                             const float (&p)[kBlocks][kScoreBlocks][kAccumulators],
                             const RowPairAddresses<kRowChunks>& v_tile) {
#pragma unroll
  for (i32 step = 0; step < kScoreBlocks; ++step) {
    u32 a[kBlocks][4];
#pragma unroll
    for (i32 b = 0; b < kBlocks; ++b) {
      constexpr i32 kOrder[4] = {0, 2, 1, 3};  // rows are neighbours in an operand, columns in a result
#pragma unroll
      for (i32 i = 0; i < 4; ++i) a[b][i] = __builtin_bit_cast(u32, p[b][step][kOrder[i]]);
    }
#pragma unroll
    for (i32 n = 0; n < kOutputBlocks; ++n) {
      const u32 v0 = ptx::ld_shared_b32(v_tile.at(step, n, 0));
      const u32 v1 = ptx::ld_shared_b32(v_tile.at(step, n, 1));
#pragma unroll
      for (i32 b = 0; b < kBlocks; ++b) E::mma(o[b][n], a[b], v0, v1);
    }
  }
}

/// Lays a lane's part of row r of a block of O, times `factor`, into row `row` of a swizzled tile of 16-bit elements.
template <class E, i32 kRowChunks, i32 kOutputBlocks>
KILN_DEVICE void lay_row(typename E::Storage* tile_shared, i32 row, const float (&o)[kOutputBlocks][kAccumulators],
                         i32 r, float factor, u32 lane) {
  char* tile = reinterpret_cast<char*>(tile_shared);
#pragma unroll
  for (i32 n = 0; n < kOutputBlocks; ++n) {
    const float(&x)[kAccumulators] = o[n];
    const i32 in_chunk = accumulator_coordinate(lane, 0).column * E::kBytes;
    *reinterpret_cast<u32*>(tile + SwizzledTile<kRowChunks>::offset(row, n) + in_chunk) =
        E::pack(x[kRowsPerLane * r] * factor, x[kRowsPerLane * r + 1] * factor);
  }
}

struct alignas(2 * sizeof(float)) FloatPair {
  float x[2];
};

/// Lays it as floats into row `row` of a swizzled tile of floats.
template <i32 kOutputBlocks>
KILN_DEVICE void lay_floats(unsigned char* tile, i32 row, const float (&o)[kOutputBlocks][kAccumulators], i32 r,
                            u32 lane) {
  constexpr i32 kChunkFloats = kChunkBytes / static_cast<i32>(sizeof(float));
  using Tile = SwizzledTile<kOutputBlocks * kMmaN / kChunkFloats>;
  const i32 column = accumulator_coordinate(lane, 0).column;
  const i32 in_chunk = column % kChunkFloats * static_cast<i32>(sizeof(float));
#pragma unroll
  for (i32 n = 0; n < kOutputBlocks; ++n) {
    const i32 chunk = (n * kMmaN + column) / kChunkFloats;
    *reinterpret_cast<FloatPair*>(tile + Tile::offset(row, chunk) + in_chunk) = {o[n][kRowsPerLane * r],
                                                                                 o[n][kRowsPerLane * r + 1]};
  }
}

/// Writes it to a row of floats in global memory: the four lanes of a row write a whole sector at a time.
template <i32 kOutputBlocks>
KILN_DEVICE void write_row(float* row, const float (&o)[kOutputBlocks][kAccumulators], i32 r, float factor, u32 lane) {
  float* to = row + accumulator_coordinate(lane, 0).column;
#pragma unroll
  for (i32 n = 0; n < kOutputBlocks; ++n) {
    const float(&x)[kAccumulators] = o[n];
    *reinterpret_cast<FloatPair*>(to + n * kMmaN) = {x[kRowsPerLane * r] * factor, x[kRowsPerLane * r + 1] * factor};
  }
}

/// Sets scores of unseen keys to −inf. `keys_of(block, row_of_lane)` is a row's range; `first_key` is
/// the key of the tile's first column. kLowerBound: ranges may begin inside the tile.
template <bool kLowerBound, i32 kBlocks, i32 kScoreBlocks, class KeysOf>
KILN_DEVICE void apply_mask(float (&s)[kBlocks][kScoreBlocks][kAccumulators], u32 lane, i32 first_key, KeysOf keys_of) {
#pragma unroll
  for (i32 b = 0; b < kBlocks; ++b) {
#pragma unroll
    for (i32 r = 0; r < kRowsPerLane; ++r) {
      const KeyRange keys = keys_of(b, r);
      const i32 first_column = first_key + accumulator_coordinate(lane, 0).column;
      const i32 begin = keys.begin - first_column;
      const i32 end = keys.end - first_column;
#pragma unroll
      for (i32 n = 0; n < kScoreBlocks; ++n) {
#pragma unroll
        for (i32 i = 0; i < kRowsPerLane; ++i) {
          const i32 column = n * kMmaN + i;
          const bool seen = column < end && (!kLowerBound || column >= begin);
          float& score = s[b][n][kRowsPerLane * r + i];
          score = seen ? score : minus_inf();
        }
      }
    }
  }
}

}  // namespace kiln::device
