// A block of decode: its shape, what it knows of a share, and its shared memory.
#pragma once

#include "default_config.cuh"
#include "device/base.cuh"
#include "device/decode_plan.cuh"
#include "device/element.cuh"
#include "device/fragment.cuh"
#include "device/mask.cuh"
#include "device/online_softmax.cuh"
#include "device/paged_rows.cuh"
#include "device/params.cuh"
#include "device/ptx.cuh"
#include "device/score.cuh"
#include "device/sequence.cuh"
#include "device/smem_plan.cuh"
#include "device/swizzle.cuh"
#include "device/tile_schedule.cuh"
#include "device/warp_tile.cuh"

namespace kiln::device {

inline constexpr u32 kThreads = config::kWarps * kWarpSize;
KILN_DEVICE consteval DecodeWarps warp_grid() {
  return decode_warps(config::kHeadDimV, config::kTileM, config::kWarps);
}
inline constexpr i32 kWarpRows = config::kTileM / warp_grid().rows;
inline constexpr i32 kWarpKeys = config::kTileN / warp_grid().keys;  // whose scores a warp computes
inline constexpr i32 kCopyKeys = config::kTileN / config::kWarps;  // that a warp copies
inline constexpr i32 kRowBlocks = kWarpRows / kMmaM;
inline constexpr i32 kScoreBlocks = kWarpKeys / kMmaN;
inline constexpr i32 kOutputBlocks = config::kHeadDimV / kMmaN;
KILN_DEVICE consteval ScoreKind score_kind() {
  return {config::kSoftcap, config::kAlibi, config::kBiasAdditive, config::kBiasMask};
}

static_assert(warp_grid().rows * warp_grid().keys == config::kWarps && kWarpRows % kMmaM == 0);
static_assert(kWarpKeys % kMmaK == 0 && kWarpKeys > 0, "a warp's keys are whole k steps of P V");
static_assert(kCopyKeys % 8 == 0, "what a warp copies begins where the swizzle does");
static_assert(config::kHeadDimQk % kMmaN == 0 && config::kHeadDimV % kMmaN == 0);
static_assert(config::kStages >= 2, "the copy of one tile runs under the arithmetic of another");

using Walk = DecodeWalk<config::kTileM, config::kTileN>;
KILN_DEVICE consteval DecodePlaces decode_places() {
  return {config::dtype(), config::kHeadDimQk, config::kHeadDimV, config::kTileM, config::kTileN, config::kStages, config::kWarps};
}

using Scores = float[kRowBlocks][kScoreBlocks][kAccumulators];
using Output = float[kRowBlocks][kOutputBlocks][kAccumulators];
using Softmax = OnlineSoftmax<kRowBlocks>;
/// O in floats, in shared memory.
using OutputTile = SwizzledTile<config::kHeadDimV* static_cast<i32>(sizeof(float)) / kChunkBytes>;

/// Q stays in registers where they hold it beside S, O and the others; else it is read again for each tile.
inline constexpr i32 kTileRegisters =
    kRowBlocks * (kAccumulators * (kScoreBlocks + kOutputBlocks) + 4 * k_steps(config::kHeadDimQk, config::dtype()));
inline constexpr i32 kOtherRegisters = 110;
inline constexpr i32 kRegisterFile = 65536;
inline constexpr i32 kRegisters = min(kRegisterFile / static_cast<i32>(kThreads * config::kCtasPerSm), 255);
inline constexpr bool kQInRegisters = kTileRegisters + kOtherRegisters <= kRegisters;
/// Where registers are that short, what follows from a thread's place is found anew for each tile.
inline constexpr bool kKeepsPlaces = kQInRegisters;
using Queries = QueryRows<config::kHeadDimQk, kRowBlocks, kQInRegisters>;

/// The rows of a share, which are queries and heads, and where they lie in memory.
struct Rows {
  i32 batch;
  i32 kv_head;
  i32 begin;  // row of the sequence
  i32 count;  // ≤ kTileM
  i32 len_q;

  Rows() = default;
  KILN_DEVICE Rows(const AttentionParams& p, const DecodeShare& share, i32 head)
      : batch(share.sequence.batch),
        kv_head(head),
        begin(share.row_tile * config::kTileM),
        count(min(config::kTileM, share.sequence.len_q * p.group - begin)),
        len_q(share.sequence.len_q) {}

  KILN_DEVICE i32 query(const AttentionParams& p, i32 row) const { return query_of_row(p.heads, begin + row); }
  KILN_DEVICE i32 head(const AttentionParams& p, i32 row) const {
    return kv_head * p.group + begin + row - query(p, row) * p.group;
  }
  /// Rows behind the last one stand in for it, so that nothing outside the tensors is read for them.
  KILN_DEVICE i32 existing(i32 row) const { return min(row, count - 1); }

  KILN_DEVICE i64 offset(const AttentionParams& p, const Strides& strides, i32 row) const {
    const SequenceRows queries{p.cu_seqlens_q, nullptr, 0};
    return queries.begin(batch, strides) + query(p, row) * strides.row + head(p, row) * strides.head;
  }
  KILN_DEVICE i64 lse_offset(const AttentionParams& p, i32 row) const {
    const bool packed = p.cu_seqlens_q != nullptr;
    const i64 first = packed ? p.cu_seqlens_q[batch] : i64{batch} * p.heads_q * p.len_q;
    return first + head(p, row) * i64{packed ? p.total_q : p.len_q} + query(p, row);
  }
};

/// The keys of a share, as copies need them.
struct Keys {
  const Element::Storage* k;  // key 0 of the sequence, or of page 0
  const Element::Storage* v;
  const i32* pages;  // of the sequence
  i32 padding;       // in front of key 0, with pages
  i32 len;
  TileRange tiles;

  Keys() = default;
  KILN_DEVICE Keys(const DecodeParams& p, const DecodeShare& share, const Rows& rows)
      : k(static_cast<const Element::Storage*>(p.k) + rows.kv_head * p.k_strides.head),
        v(static_cast<const Element::Storage*>(p.v) + rows.kv_head * p.v_strides.head),
        pages(p.page_table),
        padding(0),
        len(share.sequence.len_k),
        tiles(share.tiles) {
    i64 row = rows.batch;
    if (p.simple_cache == 0) {
      row = max(cache_row_of(p.cache, rows.batch), 0);
      padding = left_padding_of(p.cache, rows.batch);
    }
    if constexpr (config::kPaged) {
      pages += p.cache.page_indptr != nullptr ? p.cache.page_indptr[rows.batch] : row * p.page_table_stride;
    } else {
      k += row * p.k_strides.batch + padding * p.k_strides.row;
      v += row * p.v_strides.batch + padding * p.v_strides.row;
    }
    if (share.sequence.row_tiles > 1) {  // rows of this tile may see less than the sequence's
      const TileRange seen =
          tile_range(share.sequence.band, rows.query(p, 0), rows.query(p, rows.count - 1), config::kTileN);
      tiles = {max(tiles.begin, seen.begin), min(tiles.end, seen.end)};
    }
  }
};

/// What is known of a share while its keys arrive.
struct alignas(kDecodeWorkBytes / 2) Work {
  DecodeParts parts;
  Rows rows;
  TileRange tiles;
  Band band;
  KeyRange seen_by_all;  // keys that every row sees

  KILN_DEVICE Work(const DecodeParams& p, const DecodeShare& share, const DecodeParts& given, const Rows& its_rows,
                   TileRange its_tiles)
      : parts(given), rows(its_rows), tiles(its_tiles), band(share.sequence.band) {
    seen_by_all = band.of_all_rows(rows.query(p, 0), rows.query(p, rows.count - 1));
  }
};
static_assert(sizeof(Work) == kDecodeWorkBytes);

/// K and V of a tile.
struct Place {
  Element::Storage k[config::kTileN * kPaddedDimQk];
  Element::Storage v[config::kTileN * kPaddedDimV];
};
static_assert(sizeof(Place) == decode_places().place);

struct alignas(kSmemAlignment) Smem : PageSlots<config::kPaged, config::kWarps, kCopyKeys> {
  unsigned char places[decode_places().bytes()];
  Element::Storage q[kDecodeQueries][config::kTileM * kPaddedDimQk];
  float m[warp_grid().keys][config::kTileM];
  float l[warp_grid().keys][config::kTileM];
  alignas(Work) unsigned char works[kDecodeWorks][kDecodeWorkBytes];

  KILN_DEVICE Place& place(i32 stage) { return reinterpret_cast<Place*>(places)[stage]; }
  /// O of the warps along the keys, while the place `free` holds nothing.
  KILN_DEVICE unsigned char* output(i32 free) {
    return places + (decode_places().output_has_own() ? config::kStages : free) * decode_places().place;
  }
  KILN_DEVICE Work& work(i32 index) { return *reinterpret_cast<Work*>(works[index % kDecodeWorks]); }
};
static_assert(sizeof(Smem) == config::kSmemBytes);
static_assert(sizeof(Smem) == decode_smem_bytes(config::dtype(), config::kHeadDimQk, config::kHeadDimV, config::kTileM,
                                                config::kTileN, config::kStages, config::kWarps, config::kPaged));

KILN_DEVICE i32 following(i32 stage) { return stage + 1 == config::kStages ? 0 : stage + 1; }
KILN_DEVICE i32 preceding(i32 stage) { return stage == 0 ? config::kStages - 1 : stage - 1; }

}  // namespace kiln::device
