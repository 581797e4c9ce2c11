// Where a 16-byte chunk of a tile lies in shared memory. An 8×8 matrix of ldmatrix is the same chunk
// column of 8 consecutive rows, and is read without bank conflicts if those 8 chunks fall into the 8
// different 16-byte columns of the 128 bytes of banks. XOR with the row does that without padding.
#pragma once

#include "device/base.cuh"

namespace kiln::device {

/// Rows of kDim 16-bit elements, dense. With C chunks a row and g = gcd(C, 8), the row's start moves
/// through 8 / g bank columns by itself; g neighbouring rows of the same start differ by the XOR,
/// which stays inside an aligned group of g chunks and so inside the row.
template <i32 kDim>
struct SwizzledTile {
  static_assert(kDim % 16 == 0, "a row is a whole number of 16-element k steps");
  static constexpr i32 kChunks = kDim / kChunkElements;
  static constexpr i32 kRowBytes = kDim * kElementBytes;
  static constexpr i32 kGroup = kChunks % 8 == 0 ? 8 : kChunks % 4 == 0 ? 4 : 2;
  static constexpr i32 kRowsPerStep = 8 / kGroup;

  KILN_DEVICE static constexpr i32 row_key(i32 row) {
    return static_cast<i32>(static_cast<u32>(row) / kRowsPerStep % kGroup);  // unsigned: a shift and a mask
  }

  /// Bytes from the tile's start. Only the low bits of the chunk take part in the XOR.
  KILN_DEVICE static constexpr i32 offset(i32 row, i32 chunk) {
    return row * kRowBytes + (chunk ^ row_key(row)) * kChunkBytes;
  }
};

}  // namespace kiln::device
