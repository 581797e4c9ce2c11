// Decode: which block works on which keys. Lengths are on the device, so every block finds its share there; all
// compute the same plan, and so agree without talking.
//
// The blocks of one index for all KV heads are a group: they work on the same keys, whose heads are neighbours in most
// caches. What there is to share out among groups are the row tiles of all sequences, one behind the other, each as
// long as its keys have tiles. Either every group gets as much of it, cut where that falls (balanced); or every row
// tile has the same number of places, and a place a group of its own (fixed): then nothing about a sequence's split
// depends on the others.
#pragma once

#include "device/base.cuh"
#include "device/mask.cuh"
#include "device/online_softmax.cuh"
#include "device/params.cuh"
#include "device/ptx.cuh"
#include "device/sequence.cuh"

namespace kiln::device {

/// a / b for b > 0: a float's estimate set right, which the next instruction can have much earlier than a division.
KILN_DEVICE i32 quotient(i32 a, i32 b) {
  u32 q = static_cast<u32>(static_cast<float>(a) * ptx::rcp_approx_ftz_f32(static_cast<float>(b)));
  while (q * static_cast<u32>(b) > static_cast<u32>(a)) --q;
  while ((q + 1) * static_cast<u32>(b) <= static_cast<u32>(a)) ++q;
  return static_cast<i32>(q);
}

/// `whole` things cut into `parts` neighbouring shares that differ by at most one, the longer ones first.
struct EvenShares {
  i32 base;
  i32 longer;  // shares that have one more

  KILN_DEVICE EvenShares(i32 whole, i32 parts) : base(quotient(whole, parts)), longer(whole - base * parts) {}
  KILN_DEVICE constexpr i32 begin(i32 part) const { return part * base + min(part, longer); }
  /// The part that thing `index` is in.
  KILN_DEVICE i32 part_of(i32 index) const {
    const i32 in_longer = longer * (base + 1);
    const bool is_longer = index < in_longer;
    return (is_longer ? 0 : longer) + quotient(is_longer ? index : index - in_longer, is_longer ? base + 1 : base);
  }
};

/// A sequence as decode sees it.
struct DecodeSequence {
  i32 batch;
  i32 len_q;
  i32 len_k;  // keys, without padding in front
  Band band;
  i32 row_tiles;  // 0: nothing to do
  i32 first_tile;
  i32 tiles;  // of keys that some query sees; 1 if there are none, since zeros have to be written

  KILN_DEVICE constexpr i32 work() const { return row_tiles * tiles; }
};

/// Some of the key tiles of a row tile.
struct DecodeShare {
  DecodeSequence sequence;
  i32 row_tile;
  TileRange tiles;
  i32 part;   // of `parts`, in the order of the keys
  i32 parts;  // 1: nobody else works on this row tile
  i32 counter;
  i32 first_place;  // of the partial results
  i32 place_step;

  /// Where part i's result lies among the partial ones.
  KILN_DEVICE constexpr i32 place(i32 i) const {
    return first_place + (i == 0 ? 0 : i * place_step - (place_step - 1));
  }
};

/// The lengths of one side of a cache.
KILN_DEVICE i32 left_padding_of(const CacheParams& cache, i32 b) {
  return cache.left_padding == nullptr ? 0 : max(cache.left_padding[b], 0);
}

KILN_DEVICE i32 cache_row_of(const CacheParams& cache, i32 b) { return cache.rows == nullptr ? b : cache.rows[b]; }

/// Keys of sequence b: 0 … len_k, whatever the device memory says.
KILN_DEVICE i32 cached_keys(const DecodeParams& p, i32 b) {
  const CacheParams& cache = p.cache;
  i32 end = p.seqused_k == nullptr ? p.len_k : min(p.len_k, p.seqused_k[b]);
  if (cache.page_indptr != nullptr) {
    const i64 pages = cache.page_indptr[b + 1] - i64{cache.page_indptr[b]};
    const i64 keys = (pages - 1) * p.page_size + min(cache.last_page_len[b], p.page_size);
    end = static_cast<i32>(min(i64{end}, pages > 0 ? keys : 0));
  }
  if (cache_row_of(cache, b) < 0) end = 0;
  return max(end - left_padding_of(cache, b), 0);
}

/// Whether all sequences are alike.
KILN_DEVICE bool all_alike(const DecodeParams& p) {
  return p.cu_seqlens_q == nullptr && p.seqused_q == nullptr && p.seqused_k == nullptr &&
         p.cache.page_indptr == nullptr && p.cache.left_padding == nullptr && p.cache.rows == nullptr;
}

template <i32 kTileM, i32 kTileN>
KILN_DEVICE DecodeSequence decode_sequence(const DecodeParams& p, i32 b) {
  const SequenceRows queries{p.cu_seqlens_q, p.seqused_q, p.len_q};
  const i32 len_q = queries.length(b);
  const i32 len_k = cached_keys(p, b);
  const Band band =
      make_band({p.causal != 0, p.align_top_left != 0, true}, len_q, len_k, p.window_left, p.window_right);
  const TileRange seen = tile_range(band, 0, max(len_q - 1, 0), kTileN);
  return {.batch = b,
          .len_q = len_q,
          .len_k = len_k,
          .band = band,
          .row_tiles = ceil_div(len_q * p.group, kTileM),
          .first_tile = seen.begin,
          .tiles = max(seen.end - seen.begin, 1)};
}

/// The shares of one group, one after the other. All lanes of a warp walk together.
template <i32 kTileM, i32 kTileN>
class DecodeWalk {
 public:
  KILN_DEVICE DecodeWalk(const DecodeParams& p, i32 group, u32 lane) : p_(p), group_(group) {
    if (p.split.splits > 0) {
      batch_ = quotient(quotient(group, p.split.splits), p.split.row_tiles);
      end_ = 1;
    } else {
      find_balanced(lane);
    }
  }

  /// Whether there is one more, which is then in `share`.
  KILN_DEVICE bool next(DecodeShare& share) {
    if (next_ >= end_) return false;
    DecodeSequence sequence;
    while (true) {
      sequence = decode_sequence<kTileM, kTileN>(p_, batch_);
      if (p_.split.splits > 0) {
        next_ = end_;
        return fixed_share(sequence, share);
      }
      if (next_ < before_ + sequence.work()) break;
      before_ += sequence.work();  // a later sequence has what is left
      ++batch_;
    }
    share = balanced_share(sequence);
    next_ += share.tiles.end - share.tiles.begin;
    return true;
  }

 private:
  /// Group = split, the first running fastest, of a row tile of a sequence. False if there is no such row tile or
  /// split.
  KILN_DEVICE bool fixed_share(const DecodeSequence& sequence, DecodeShare& share) const {
    const i32 counter = quotient(group_, p_.split.splits);
    const i32 part = group_ - counter * p_.split.splits;
    const i32 row_tile = counter - batch_ * p_.split.row_tiles;
    const i32 size = p_.split.split_tiles;
    const i32 parts = size > 0 ? quotient(sequence.tiles + size - 1, size) : min(sequence.tiles, p_.split.splits);
    const EvenShares even(sequence.tiles, parts);
    const i32 begin = size > 0 ? part * size : even.begin(part);
    const i32 end = size > 0 ? min(begin + size, sequence.tiles) : even.begin(part + 1);
    share = {.sequence = sequence,
             .row_tile = row_tile,
             .tiles = {sequence.first_tile + begin, sequence.first_tile + end},
             .part = part,
             .parts = parts,
             .counter = counter,
             .first_place = group_ - part,
             .place_step = 1};
    return row_tile < sequence.row_tiles && part < parts;
  }

  KILN_DEVICE void find_balanced(u32 lane) {
    const bool alike = p_.batch == 1 || all_alike(p_);
    const i32 count = alike ? 1 : p_.batch;
    const i32 of_a_lane = ceil_div(static_cast<u32>(count), kWarpSize);
    const i32 first = static_cast<i32>(lane) * of_a_lane;
    i32 work = 0;
#pragma unroll 1
    for (i32 b = first; b < min(first + of_a_lane, count); ++b) work += decode_sequence<kTileM, kTileN>(p_, b).work();
    i32 work_end = work;  // of this lane's sequences, among those of all lanes
#pragma unroll
    for (u32 distance = 1; distance < kWarpSize; distance *= 2) {
      const i32 other = __shfl_up_sync(kAllLanes, work_end, distance);
      if (lane >= distance) work_end += other;
    }
    const i32 all = __shfl_sync(kAllLanes, work_end, kWarpSize - 1);
    shares_ = EvenShares(alike ? p_.batch * all : all, p_.split.groups);
    next_ = shares_.begin(group_);
    end_ = shares_.begin(group_ + 1);
    if (next_ == end_) return;
    if (alike) {
      batch_ = quotient(next_, all);
      before_ = batch_ * all;
    } else {
      const i32 owner = __ffs(static_cast<i32>(__ballot_sync(kAllLanes, next_ < work_end))) - 1;
      batch_ = owner * of_a_lane;
      before_ = __shfl_sync(kAllLanes, work_end - work, owner);
    }
  }

  KILN_DEVICE DecodeShare balanced_share(const DecodeSequence& sequence) const {
    const i32 row_tile = quotient(next_ - before_, sequence.tiles);
    const i32 first = before_ + row_tile * sequence.tiles;  // of the row tile's work
    const i32 first_group = shares_.part_of(first);
    const i32 begin = next_ - first;
    const i32 end = min(end_ - first, sequence.tiles);
    return {.sequence = sequence,
            .row_tile = row_tile,
            .tiles = {sequence.first_tile + begin, sequence.first_tile + end},
            .part = group_ - first_group,
            .parts = shares_.part_of(first + sequence.tiles - 1) - first_group + 1,
            .counter = first_group,
            // A group's first share may be a later part of a row tile, and its last one the first part of another.
            .first_place = 2 * first_group + 1,
            .place_step = 2};
  }

  const DecodeParams& p_;
  i32 group_;
  i32 batch_ = 0;            // whose work next_ is, or an earlier one's
  EvenShares shares_{0, 1};  // balanced: of the work of all sequences
  i32 before_ = 0;           // balanced: the work of earlier ones than batch_
  i32 next_ = 0;             // what is left of the group's work: next_ … end_ − 1
  i32 end_ = 0;
};

}  // namespace kiln::device
