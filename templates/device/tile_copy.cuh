// Asynchronous copies of a tile between global memory and swizzled shared memory, 16 bytes a lane.
#pragma once

#include "device/base.cuh"
#include "device/ptx.cuh"
#include "device/swizzle.cuh"

namespace kiln::device {

/// The signs of a pair of 16-bit elements.
inline constexpr u32 kSignBits = 0x80008000u;

/// A tile of kRows × kDim elements, moved by kThreads threads; consecutive threads take consecutive
/// chunks of a row, so that rows are read in whole sectors.
template <i32 kRows, i32 kDim, u32 kThreads>
struct TileCopy {
  using Tile = SwizzledTile<kDim>;
  static constexpr u32 kChunks = Tile::kChunks;
  static constexpr u32 kTotal = kRows * kChunks;
  static constexpr u32 kPasses = ceil_div(kTotal, kThreads);
  static constexpr bool kEven = kTotal % kThreads == 0;

  /// Starts the copy of rows 0 … valid_rows − 1 of `src`, and zero-fills the rest without reading it.
  KILN_DEVICE static void load(u32 dst_shared, const u16* src, i64 row_stride, i32 valid_rows, u32 thread) {
    if (valid_rows >= kRows) {
      for_rows(src, row_stride, thread,
               [&](const u16* from, u32 pass) { ptx::cp_async_cg_16(dst_shared + place_of(thread, pass), from); });
    } else {
      load_partial(dst_shared, src, row_stride, valid_rows, thread);
    }
  }

  /// The same with rows anywhere: row r begins at row_address(r).
  template <class RowAddress>
  KILN_DEVICE static void load_rows(u32 dst_shared, i32 valid_rows, u32 thread, RowAddress row_address) {
#pragma unroll
    for (u32 pass = 0; pass < kPasses; ++pass) {
      const i32 row = row_of(thread, pass);
      if (!inside(row)) continue;
      const bool valid = row < valid_rows;
      const u16* from = row_address(valid ? row : 0) + chunk_of(thread, pass) * kChunkElements;
      ptx::cp_async_cg_16(dst_shared + place_of(thread, pass), from, valid ? kChunkBytes : 0);
    }
  }

  /// Writes rows 0 … valid_rows − 1 of a tile in shared memory to where row_address(r) says.
  template <class RowAddress>
  KILN_DEVICE static void store_rows(const u16* src_shared, i32 valid_rows, u32 thread, RowAddress row_address) {
#pragma unroll
    for (u32 pass = 0; pass < kPasses; ++pass) {
      const i32 row = row_of(thread, pass);
      if (inside(row) && row < valid_rows) {
        *chunk_at(row_address(row) + chunk_of(thread, pass) * kChunkElements) =
            *chunk_at(src_shared, place_of(thread, pass));
      }
    }
  }

  /// Changes the sign of every element that this thread copied; after its copies are waited for and
  /// before the barrier that shows them to others.
  KILN_DEVICE static void negate(u16* tile_shared, u32 thread) {
#pragma unroll
    for (u32 pass = 0; pass < kPasses; ++pass) {
      if (!inside(row_of(thread, pass))) continue;
#pragma unroll
      for (u32& pair : chunk_at(tile_shared, place_of(thread, pass))->words) pair ^= kSignBits;
    }
  }

  /// Writes rows 0 … valid_rows − 1 of a tile in shared memory to `dst`.
  KILN_DEVICE static void store(u16* dst, const u16* src_shared, i64 row_stride, i32 valid_rows, u32 thread) {
    if (valid_rows >= kRows) {
      for_rows(dst, row_stride, thread,
               [&](u16* to, u32 pass) { *chunk_at(to) = *chunk_at(src_shared, place_of(thread, pass)); });
    } else {
#pragma unroll 1
      for (u32 pass = 0; pass < kPasses; ++pass) {
        const i32 row = row_of(thread, pass);
        if (row >= valid_rows) return;
        *chunk_at(dst + row * row_stride + chunk_of(thread, pass) * kChunkElements) =
            *chunk_at(src_shared, place_of(thread, pass));
      }
    }
  }

 private:
  struct alignas(kChunkBytes) Chunk {
    u32 words[4];
  };
  KILN_DEVICE static Chunk* chunk_at(u16* tile, u32 bytes = 0) {
    return reinterpret_cast<Chunk*>(reinterpret_cast<char*>(tile) + bytes);
  }
  KILN_DEVICE static const Chunk* chunk_at(const u16* tile, u32 bytes = 0) {
    return chunk_at(const_cast<u16*>(tile), bytes);
  }

  /// A thread keeps its chunk column from pass to pass.
  static constexpr bool kFixedChunk = kThreads % kChunks == 0;
  /// And, as the swizzle repeats every 8 rows, its place in the row.
  static constexpr bool kFixedPlace = kFixedChunk && kThreads / kChunks % 8 == 0;

  KILN_DEVICE static constexpr i32 row_of(u32 thread, u32 pass) {
    return static_cast<i32>(kFixedChunk ? thread / kChunks + pass * (kThreads / kChunks)
                                        : (thread + pass * kThreads) / kChunks);
  }

  KILN_DEVICE static constexpr i32 chunk_of(u32 thread, u32 pass) {
    return static_cast<i32>((kFixedChunk ? thread : thread + pass * kThreads) % kChunks);
  }

  KILN_DEVICE static constexpr u32 place_of(u32 thread, u32 pass) {
    if constexpr (kFixedPlace) {
      return static_cast<u32>(Tile::offset(row_of(thread, 0), chunk_of(thread, 0))) + pass * kThreads * kChunkBytes;
    } else {
      return static_cast<u32>(Tile::offset(row_of(thread, pass), chunk_of(thread, pass)));
    }
  }

  KILN_DEVICE static constexpr bool inside(i32 row) { return kEven || row < kRows; }

  /// Calls f(address, pass) for every chunk of the thread's. Walks from row to row: an address for each pass would be
  /// kept in registers from tile to tile.
  template <class Element, class F>
  KILN_DEVICE static void for_rows(Element* tile, i64 row_stride, u32 thread, F f) {
    Element* walk = tile + row_of(thread, 0) * row_stride + chunk_of(thread, 0) * kChunkElements;
#pragma unroll
    for (u32 pass = 0; pass < kPasses; ++pass) {
      const i32 row = row_of(thread, pass);
      Element* at = kFixedChunk ? walk : tile + row * row_stride + chunk_of(thread, pass) * kChunkElements;
      walk += static_cast<i64>(kThreads / kChunks) * row_stride;
      if (inside(row)) f(at, pass);
    }
  }

  /// At most one tile of a block is partial, so this is kept short rather than fast.
  KILN_DEVICE static void load_partial(u32 dst_shared, const u16* src, i64 row_stride, i32 valid_rows, u32 thread) {
#pragma unroll 1
    for (u32 pass = 0; pass < kPasses; ++pass) {
      const i32 row = row_of(thread, pass);
      if (!inside(row)) return;
      // An address that is never read still stays inside the tensor.
      const bool valid = row < valid_rows;
      const u16* from = valid ? src + row * row_stride + chunk_of(thread, pass) * kChunkElements : src;
      ptx::cp_async_cg_16(dst_shared + place_of(thread, pass), from, valid ? kChunkBytes : 0);
    }
  }
};

}  // namespace kiln::device
