// Which lane holds what in mma and ldmatrix: the one place that knows. Lanes and threads are
// unsigned: then a division by a power of two is one instruction.
#pragma once

#include "device/base.cuh"
#include "device/swizzle.cuh"

namespace kiln::device {

inline constexpr i32 kMmaM = 16;
inline constexpr i32 kMmaN = 8;
inline constexpr i32 kMmaK = 16;         // of 16-bit elements
inline constexpr i32 kStepChunks = 2;    // a k step in chunks of a row, whatever the elements
inline constexpr i32 kAccumulators = 4;  // fp32 registers of one 16×8 result
inline constexpr i32 kRowsPerLane = 2;   // a lane's accumulators lie in two rows, 8 apart
inline constexpr u32 kQuad = 4;          // lanes that share a row of the result

struct Coordinate {
  i32 row;
  i32 column;
};

/// Element `index` (0 … 3) of the 16×8 result in `lane`; 0 and 1 lie in one row, 2 and 3 in the other.
KILN_DEVICE constexpr Coordinate accumulator_coordinate(u32 lane, i32 index) {
  return {static_cast<i32>(lane / kQuad) + index / 2 * 8, static_cast<i32>(lane % kQuad * 2) + index % 2};
}

/// The row and chunk of a block of 16 rows and two chunks whose address a lane passes to ldmatrix.x4, so that the four
/// result registers are an operand as mma takes it.
struct LdmatrixLane {
  i32 row;
  i32 chunk;
};

/// A operand from a row-major block (Q), and, with .trans, the B operands of two 8-column halves from
/// a block whose rows are k (V): matrices 0 and 1 are the upper and lower rows of the left chunk.
KILN_DEVICE constexpr LdmatrixLane ldmatrix_rows_first(u32 lane) {
  return {static_cast<i32>(lane % 16), static_cast<i32>(lane / 16)};
}

/// B operands of two 8-column halves from a block whose rows are n (K): matrices 0 and 1 are the left
/// and right chunk of the upper rows.
KILN_DEVICE constexpr LdmatrixLane ldmatrix_chunks_first(u32 lane) {
  return {static_cast<i32>(lane % 8 + lane / 16 * 8), static_cast<i32>(lane / 8 % 2)};
}

/// A lane's ldmatrix addresses for every block of 16 rows and two chunks of a swizzled tile, from one offset. The XOR
/// of the swizzle stays inside aligned groups of chunks, so a block's column inside its group is one more XOR (rows and
/// tiles start at multiples of a group), and everything else is a constant.
template <i32 kRowChunks>
class BlockAddresses {
 public:
  using Tile = SwizzledTile<kRowChunks>;
  static constexpr i32 kBlocksPerGroup = Tile::kGroup / kStepChunks;

  /// Of the tile that starts at shared address `tile`.
  KILN_DEVICE constexpr BlockAddresses(u32 tile, LdmatrixLane lane)
      : first(tile + static_cast<u32>(Tile::offset(lane.row, lane.chunk))) {}

  /// Of block (row_block, column_block).
  KILN_DEVICE constexpr u32 at(i32 row_block, i32 column_block) const {
    const i32 in_group = column_block % kBlocksPerGroup * kStepChunks * kChunkBytes;
    const i32 group = column_block / kBlocksPerGroup * Tile::kGroup * kChunkBytes;
    const i32 rows = row_block * kMmaM * Tile::kRowBytes;
    return (first ^ static_cast<u32>(in_group)) + static_cast<u32>(group + rows);
  }

  u32 first;  // of block (0, 0)
};

/// A lane's addresses of 32-bit elements of V as B operands. The keys of a block of 8 may come in any order, if
/// P's columns come in the same: with k = t standing for key 2t and k = t + 4 for key 2t + 1, the accumulators of
/// P are an A operand as they lie. A lane then reads rows 2t and 2t + 1, t = lane % 4, of column lane / 4: four
/// rows of two chunks at a time, which the XOR over 8 chunks puts into different banks.
template <i32 kRowChunks>
class RowPairAddresses {
 public:
  using Tile = SwizzledTile<kRowChunks>;
  static_assert(Tile::kGroup == 8);
  static constexpr i32 kBlockChunks = 2;  // 8 columns
  static constexpr i32 kWordBytes = 4;

  KILN_DEVICE constexpr RowPairAddresses(u32 tile, u32 lane)
      : first_(tile + static_cast<u32>(Tile::offset(static_cast<i32>(lane % kQuad * 2), static_cast<i32>(lane / 16)) +
                                       static_cast<i32>(lane / kQuad % 4) * kWordBytes)) {}

  /// Of key 2t (odd = 0) or 2t + 1 (odd = 1) of a block of 8 keys and 8 columns.
  KILN_DEVICE constexpr u32 at(i32 key_block, i32 column_block, i32 odd) const {
    const i32 in_group = (column_block * kBlockChunks % Tile::kGroup ^ odd) * kChunkBytes;
    const i32 group = column_block * kBlockChunks / Tile::kGroup * Tile::kGroup * kChunkBytes;
    const i32 rows = (key_block * 8 + odd) * Tile::kRowBytes;
    return (first_ ^ static_cast<u32>(in_group)) + static_cast<u32>(group + rows);
  }

 private:
  u32 first_;  // of key 0, column 0 of the lane
};

}  // namespace kiln::device
