// Where a 16-byte chunk of a tile lies in shared memory. A matrix of ldmatrix is the same chunk column of
// 8 consecutive rows, and is read without bank conflicts if those 8 chunks fall into the 8 different
// 16-byte columns of the 128 bytes of banks. XOR with the row does that without padding.
#pragma once

#include "device/base.cuh"

namespace kiln::device {

/// Elements that a row of `dim` takes in shared memory. 16 bit: whole k steps of an mma, zeros behind the
/// dim. 32 bit: whole 128-byte lines, since V's rows are read in a way that needs the XOR to reach over 8
/// chunks (ValueAddresses); what lies behind the dim is never read.
KILN_DEVICE constexpr i32 padded_dim(i32 dim, DType type) {
  const i32 unit = type == DType::f32 ? 32 : 16;
  return ceil_div(dim, unit) * unit;
}

/// The same in chunks.
KILN_DEVICE constexpr i32 row_chunks(i32 dim, DType type) {
  return padded_dim(dim, type) * element_bytes(type) / kChunkBytes;
}

/// The k steps of a product over `dim`: each takes two chunks of a row.
KILN_DEVICE constexpr i32 k_steps(i32 dim, DType type) { return ceil_div(dim * element_bytes(type), 2 * kChunkBytes); }

/// Rows of kRowChunks = C chunks, dense. With g = gcd(C, 8), the row's start moves through 8 / g bank
/// columns by itself; g neighbouring rows of the same start differ by the XOR, which stays inside an
/// aligned group of g chunks and so inside the row.
template <i32 kRowChunks>
struct SwizzledTile {
  static_assert(kRowChunks % 2 == 0, "a row is a whole number of k steps, which are two chunks");
  static constexpr i32 kRowBytes = kRowChunks * kChunkBytes;
  static constexpr i32 kGroup = kRowChunks % 8 == 0 ? 8 : kRowChunks % 4 == 0 ? 4 : 2;
  static constexpr i32 kRowsPerStep = 8 / kGroup;
  static constexpr i32 kPeriod = 8;  // rows after which the keys repeat

  KILN_DEVICE static constexpr i32 row_key(i32 row) {
    return static_cast<i32>(static_cast<u32>(row) / kRowsPerStep % kGroup);  // unsigned: a shift and a mask
  }

  /// Bytes from the tile's start. Only the low bits of the chunk take part in the XOR.
  KILN_DEVICE static constexpr i32 offset(i32 row, i32 chunk) {
    return row * kRowBytes + (chunk ^ row_key(row)) * kChunkBytes;
  }
};

}  // namespace kiln::device
