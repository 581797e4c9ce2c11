// Which keys a query row sees, and what that means for tiles: index arithmetic only.
#pragma once

#include "device/base.cuh"

namespace kiln::device {

/// Every length is at most this, so that a position plus a shift stays inside 32 bits.
inline constexpr i32 kMaxLength = 1 << 30;

/// Half open: begin ≤ key < end.
struct KeyRange {
  i32 begin;
  i32 end;
};

/// Row i sees key j iff begin_shift ≤ j − i < end_shift and 0 ≤ j < len_k. Both bounds grow with i:
/// everything below relies on that.
struct Band {
  i32 begin_shift;
  i32 end_shift;
  i32 len_k;

  KILN_DEVICE constexpr KeyRange of_row(i32 row) const {
    return {clamp(row + begin_shift, 0, len_k), clamp(row + end_shift, 0, len_k)};
  }

  /// Bounds that give the same answer for every key ≥ 0, with less arithmetic.
  KILN_DEVICE constexpr KeyRange limits_of_row(i32 row) const {
    return {row + begin_shift, min(row + end_shift, len_k)};
  }

  /// The keys that each of the rows `first` … `last` sees: tiles of them need no mask.
  KILN_DEVICE constexpr KeyRange of_all_rows(i32 first, i32 last) const {
    return {limits_of_row(last).begin, limits_of_row(first).end};
  }
};

/// What the kernel was compiled for.
struct MaskKind {
  bool causal;
  bool align_top_left;
  bool window;
};

/// δ: query i stands at key i + δ.
KILN_DEVICE constexpr i32 diagonal_shift(MaskKind kind, i32 len_q, i32 len_k) {
  return kind.align_top_left ? 0 : len_k - len_q;
}

/// A window side of −1 is open.
KILN_DEVICE constexpr Band make_band(MaskKind kind, i32 len_q, i32 len_k, i32 window_left, i32 window_right) {
  const i64 diagonal = diagonal_shift(kind, len_q, len_k);
  const i64 open = kMaxLength;
  i64 begin = -open;
  i64 end = open;
  if (kind.window && window_left >= 0) begin = diagonal - window_left;
  if (kind.window && window_right >= 0) end = diagonal + window_right + 1;
  if (kind.causal) end = min(end, diagonal + 1);
  return {static_cast<i32>(clamp(begin, -open, open)), static_cast<i32>(clamp(end, -open, open)), len_k};
}

/// The key tiles that rows `first` … `last` touch: begin ≤ tile < end.
struct TileRange {
  i32 begin;
  i32 end;
};

KILN_DEVICE constexpr TileRange tile_range(const Band& band, i32 first, i32 last, i32 tile_n) {
  const KeyRange first_row = band.of_row(first);
  const KeyRange last_row = band.of_row(last);
  if (first_row.begin >= last_row.end) return {0, 0};
  return {first_row.begin / tile_n, ceil_div(last_row.end, tile_n)};
}

}  // namespace kiln::device
