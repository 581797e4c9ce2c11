// Decode: how the key tiles of one sequence are shared out over blocks. Every block computes this from
// the sequence's length on the device, so all agree without talking.
#pragma once

#include "device/base.cuh"
#include "device/mask.cuh"

namespace kiln::device {

struct TileSpan {
  i32 begin;
  i32 end;
};

/// Shares are whole tiles and differ by at most one. Splits 0 … working − 1 have work; the others
/// have none and nobody waits for them. A sequence without keys still has one working split, which
/// writes its zeros.
struct SplitPlan {
  i32 first_tile;
  i32 tiles;
  i32 working;

  KILN_DEVICE constexpr TileSpan share(i32 split) const {
    const i32 base = tiles / working;
    const i32 longer = tiles % working;  // the first shares are one tile longer
    const i32 begin = first_tile + split * base + min(split, longer);
    return {begin, begin + base + (split < longer ? 1 : 0)};
  }
};

KILN_DEVICE constexpr SplitPlan plan_splits(KeyRange keys, i32 tile_n, i32 splits) {
  const i32 first_tile = keys.begin / tile_n;
  const i32 tiles = keys.begin < keys.end ? ceil_div(keys.end, tile_n) - first_tile : 0;
  return {first_tile, tiles, max(min(tiles, splits), 1)};
}

}  // namespace kiln::device
