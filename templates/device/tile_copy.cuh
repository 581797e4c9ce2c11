// Asynchronous copies of a tile between global memory and swizzled shared memory, 16 bytes a lane.
#pragma once

#include "device/base.cuh"
#include "device/element.cuh"
#include "device/fragment.cuh"
#include "device/ptx.cuh"
#include "device/swizzle.cuh"

namespace kiln::device {

/// A tile of kRows rows of kDim elements, moved by kThreads threads. It is cut into panels, whose number of
/// chunk columns is a power of two: a thread then keeps its column from row to row. Consecutive threads take
/// consecutive chunks of a row, so that rows are read in whole sectors.
template <i32 kRows, i32 kDim, u32 kThreads, class E = Element>
class TileCopy {
 public:
  using Storage = typename E::Storage;

  /// Starts the copy of rows 0 … valid_rows − 1 of `src`, and zero-fills the rest without reading it.
  KILN_DEVICE static void load(u32 dst_shared, const Storage* src, i64 row_stride, i32 valid_rows, u32 thread) {
    if (valid_rows >= kRows) {
      AllPanels::load(dst_shared, src, row_stride, thread);
    } else {
      AllPanels::load_some(dst_shared, valid_rows, thread, src, [&](i32 row) { return src + row * row_stride; });
    }
  }

  /// The same of rows that lie anywhere: row_address(row) is where a row begins, and asked of valid rows only.
  template <class RowAddress>
  KILN_DEVICE static void load_rows(u32 dst_shared, i32 valid_rows, u32 thread, RowAddress row_address) {
    if (valid_rows >= kRows) {
      AllPanels::load_rows(dst_shared, thread, row_address);
    } else {
      AllPanels::load_some(dst_shared, valid_rows, thread, nullptr, row_address);
    }
  }

  /// Changes the sign of every element that this thread copied; after its copies are waited for and
  /// before the barrier that shows them to others.
  KILN_DEVICE static void negate(Storage* tile_shared, u32 thread) { AllPanels::negate(tile_shared, thread); }

  /// Writes rows 0 … valid_rows − 1 of a tile in shared memory to `dst`.
  KILN_DEVICE static void store(Storage* dst, const Storage* src_shared, i64 row_stride, i32 valid_rows, u32 thread) {
    if (valid_rows >= kRows) {
      AllPanels::store(dst, src_shared, row_stride, thread);
    } else {
      AllPanels::store_some(src_shared, valid_rows, thread, [&](i32 row) { return dst + row * row_stride; });
    }
  }

  /// The same to rows that lie anywhere; row_address(row) is asked of valid rows only.
  template <class RowAddress>
  KILN_DEVICE static void store_rows(const Storage* src_shared, i32 valid_rows, u32 thread, RowAddress row_address) {
    AllPanels::store_some(src_shared, min(valid_rows, kRows), thread, row_address);
  }

 private:
  using Tile = SwizzledTile<row_chunks(kDim, E::dtype())>;
  static constexpr i32 kChunkElements = kChunkBytes / E::kBytes;
  static constexpr i32 kDimChunks = kDim / kChunkElements;
  /// With the one behind the dim that the last k step reads.
  static constexpr i32 kCopiedChunks = ceil_div(kDimChunks, kStepChunks) * kStepChunks;
  static_assert(kDim % kChunkElements == 0, "rows are copied in whole chunks");

  struct alignas(kChunkBytes) Chunk {
    u32 words[4];
  };
  KILN_DEVICE static Chunk* chunk_at(Storage* tile, u32 bytes = 0) {
    return reinterpret_cast<Chunk*>(reinterpret_cast<char*>(tile) + bytes);
  }
  KILN_DEVICE static const Chunk* chunk_at(const Storage* tile, u32 bytes = 0) {
    return chunk_at(const_cast<Storage*>(tile), bytes);
  }

  /// The widest panel that fits into `chunks` columns.
  KILN_DEVICE static constexpr i32 panel_width(i32 chunks) {
    i32 width = 1;
    while (2 * width <= chunks && kThreads % static_cast<u32>(2 * width) == 0) width *= 2;
    return width;
  }

  /// The panel that begins at chunk column kFirst; what is asked of it, it does for those behind it, too.
  template <i32 kFirst>
  class Panel {
   public:
    KILN_DEVICE static void load(u32 dst_shared, const Storage* src, i64 row_stride, u32 thread) {
      for_rows(src, row_stride, thread, [&](const Storage* from, u32 pass) { copy(dst_shared, from, thread, pass); });
      if constexpr (!kLast) Next::load(dst_shared, src, row_stride, thread);
    }

    template <class RowAddress>
    KILN_DEVICE static void load_rows(u32 dst_shared, u32 thread, RowAddress row_address) {
#pragma unroll
      for (u32 pass = 0; pass < kPasses; ++pass) {
        const i32 row = row_of(thread, pass);
        if (inside(row)) copy(dst_shared, row_address(row) + source_of(thread), thread, pass);
      }
      if constexpr (!kLast) Next::load_rows(dst_shared, thread, row_address);
    }

    /// At most one tile of a block is partial, so this is kept short rather than fast. `unread` is the address
    /// for what isn't read.
    template <class RowAddress>
    KILN_DEVICE static void load_some(u32 dst_shared, i32 valid_rows, u32 thread, const Storage* unread,
                                      RowAddress row_address) {
#pragma unroll 1
      for (u32 pass = 0; pass < kPasses; ++pass) {
        const i32 row = row_of(thread, pass);
        if (!inside(row)) break;
        const bool valid = row < valid_rows && in_dim(thread);
        const Storage* from = valid ? row_address(row) + source_of(thread) : unread;
        ptx::cp_async_cg_16(dst_shared + place_of(thread, pass), from, valid ? kChunkBytes : 0);
      }
      if constexpr (!kLast) Next::load_some(dst_shared, valid_rows, thread, unread, row_address);
    }

    KILN_DEVICE static void negate(Storage* tile_shared, u32 thread) {
#pragma unroll
      for (u32 pass = 0; pass < kPasses; ++pass) {
        if (!inside(row_of(thread, pass))) continue;
#pragma unroll
        for (u32& word : chunk_at(tile_shared, place_of(thread, pass))->words) word ^= E::kSignBits;
      }
      if constexpr (!kLast) Next::negate(tile_shared, thread);
    }

    KILN_DEVICE static void store(Storage* dst, const Storage* src_shared, i64 row_stride, u32 thread) {
      for_rows(dst, row_stride, thread, [&](Storage* to, u32 pass) {
        if (in_dim(thread)) *chunk_at(to) = *chunk_at(src_shared, place_of(thread, pass));
      });
      if constexpr (!kLast) Next::store(dst, src_shared, row_stride, thread);
    }

    template <class RowAddress>
    KILN_DEVICE static void store_some(const Storage* src_shared, i32 valid_rows, u32 thread, RowAddress row_address) {
#pragma unroll 1
      for (u32 pass = 0; pass < kPasses; ++pass) {
        const i32 row = row_of(thread, pass);
        if (row >= valid_rows) break;
        if (in_dim(thread)) {
          *chunk_at(row_address(row) + source_of(thread)) = *chunk_at(src_shared, place_of(thread, pass));
        }
      }
      if constexpr (!kLast) Next::store_some(src_shared, valid_rows, thread, row_address);
    }

   private:
    static constexpr i32 kWidth = panel_width(kCopiedChunks - kFirst);
    static constexpr bool kLast = kFirst + kWidth == kCopiedChunks;
    static constexpr bool kAllInDim = kFirst + kWidth <= kDimChunks;
    using Next = Panel<kFirst + kWidth>;
    static constexpr i32 kRowsPerPass = kThreads / kWidth;
    static constexpr u32 kPasses = ceil_div(kRows, kRowsPerPass);
    static constexpr bool kEven = kRows % kRowsPerPass == 0;
    /// A thread's place in the row stays the same from pass to pass if the swizzle repeats.
    static constexpr bool kFixedPlace = kRowsPerPass % Tile::kPeriod == 0;

    KILN_DEVICE static constexpr i32 row_of(u32 thread, u32 pass) {
      return static_cast<i32>(thread / kWidth + pass * kRowsPerPass);
    }
    KILN_DEVICE static constexpr i32 chunk_of(u32 thread) { return kFirst + static_cast<i32>(thread % kWidth); }
    KILN_DEVICE static constexpr bool inside(i32 row) { return kEven || row < kRows; }
    KILN_DEVICE static constexpr bool in_dim(u32 thread) { return kAllInDim || chunk_of(thread) < kDimChunks; }

    /// Elements from the row's begin; of a chunk behind the dim, which is not read, still inside the row.
    KILN_DEVICE static constexpr i32 source_of(u32 thread) {
      return in_dim(thread) ? chunk_of(thread) * kChunkElements : 0;
    }

    KILN_DEVICE static constexpr u32 place_of(u32 thread, u32 pass) {
      if constexpr (kFixedPlace) {
        return static_cast<u32>(Tile::offset(row_of(thread, 0), chunk_of(thread))) +
               pass * static_cast<u32>(kRowsPerPass * Tile::kRowBytes);
      } else {
        return static_cast<u32>(Tile::offset(row_of(thread, pass), chunk_of(thread)));
      }
    }

    KILN_DEVICE static void copy(u32 dst_shared, const Storage* from, u32 thread, u32 pass) {
      const u32 dst = dst_shared + place_of(thread, pass);
      if constexpr (kAllInDim) {
        ptx::cp_async_cg_16(dst, from);
      } else {
        ptx::cp_async_cg_16(dst, from, in_dim(thread) ? kChunkBytes : 0);
      }
    }

    /// Calls f(address, pass) for every chunk of the thread's. Walks from row to row: an address for each pass
    /// would be kept in registers from tile to tile.
    template <class T, class F>
    KILN_DEVICE static void for_rows(T* tile, i64 row_stride, u32 thread, F f) {
      T* walk = tile + row_of(thread, 0) * row_stride + source_of(thread);
#pragma unroll
      for (u32 pass = 0; pass < kPasses; ++pass) {
        T* at = walk;
        walk += static_cast<i64>(kRowsPerPass) * row_stride;
        if (inside(row_of(thread, pass))) f(at, pass);
      }
    }
  };

  using AllPanels = Panel<0>;
};

}  // namespace kiln::device
