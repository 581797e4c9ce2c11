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

}  // namespace kiln::device
