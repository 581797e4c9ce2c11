// Decode: which block works on which keys. Lengths are on the device, so every block finds its share there; all
// compute the same plan, and so agree without talking.
//
// The blocks of one index for all KV heads are a group: they work on the same keys, whose heads are neighbours in most
// caches. What there is to share out among groups are the row tiles of all sequences, one behind the other, each as
// long as its keys have tiles, and where there are many, a little more: beginning and merging take time, too. Either
// every group gets as much of it, cut where that falls (balanced); or every row tile has the same number of places, and
// a place a group of its own (fixed): then nothing about a sequence's split depends on the others.
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
};

/// Some of the key tiles of a row tile.
struct DecodeShare {
  DecodeSequence sequence;
  i32 row_tile;
  TileRange tiles;
  i32 first_work;  // balanced: of the row tile's first tile, among the work of all sequences
};

/// How the keys of a row tile are shared.
struct DecodeParts {
  i32 part;   // whose share it is, in the order of the keys
  i32 count;  // 1: nobody else works on this row tile
  i32 counter;
  i32 first_place;  // of the partial results
  i32 place_step;

  /// Where part i's result lies among the partial ones. Balanced: a group's first share may be a later part of a row
  /// tile, and its last one the first part of another.
  KILN_DEVICE constexpr i32 place(i32 i) const { return first_place + i * place_step + (i == 0 ? place_step - 1 : 0); }
};

/// The lengths of one side of a cache.
KILN_DEVICE i32 left_padding_of(const CacheParams& cache, i32 b) {
  return cache.left_padding == nullptr ? 0 : max(cache.left_padding[b], 0);
}

KILN_DEVICE i32 cache_row_of(const CacheParams& cache, i32 b) { return cache.rows == nullptr ? b : cache.rows[b]; }

/// Keys of sequence b: 0 … len_k, whatever the device memory says.
KILN_DEVICE i32 cached_keys(const DecodeParams& p, i32 b) {
  i32 end = p.seqused_k == nullptr ? p.len_k : min(p.len_k, p.seqused_k[b]);
  if (p.simple_cache != 0) return max(end, 0);
  const CacheParams& cache = p.cache;
  if (cache.page_indptr != nullptr) {
    const i64 pages = cache.page_indptr[b + 1] - i64{cache.page_indptr[b]};
    const auto page_size = static_cast<i32>(p.page.keys);
    const i64 keys = (pages - 1) * page_size + min(cache.last_page_len[b], page_size);
    end = static_cast<i32>(min(i64{end}, pages > 0 ? keys : 0));
  }
  if (cache_row_of(cache, b) < 0) end = 0;
  return max(end - left_padding_of(cache, b), 0);
}

KILN_DEVICE i32 decode_shift(const DecodeParams& p, i32 len_q, i32 len_k) {
  return p.align_top_left != 0 ? 0 : len_k - len_q;
}

/// As make_band, for sides below kMaxLength and at least one query: nothing overflows then.
KILN_DEVICE Band decode_band(const DecodeParams& p, i32 len_q, i32 len_k) {
  const i32 shift = decode_shift(p, len_q, len_k);
  return {p.window_left < 0 ? -kMaxLength : max(shift - p.window_left, -kMaxLength),
          p.window_right < 0 ? kMaxLength : min(shift + p.window_right + 1, kMaxLength), len_k};
}

template <i32 kTileM, i32 kTileN>
KILN_DEVICE DecodeSequence decode_sequence(const DecodeParams& p, i32 b) {
  const SequenceRows queries{p.cu_seqlens_q, p.seqused_q, p.len_q};
  const i32 len_q = queries.length(b);
  const i32 len_k = cached_keys(p, b);
  const Band band = decode_band(p, max(len_q, 1), len_k);
  const TileRange seen = tile_range(band, 0, max(len_q, 1) - 1, kTileN);
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
    i32 first = 0;  // sequence
    if (is_fixed()) {
      first = quotient(quotient(group, p.split.splits), p.split.row_tiles);
      end_ = 1;
    } else if (p.alike == 0 && p.batch > 1) {
      first = find_first(lane);
    }
    sequence_ = decode_sequence<kTileM, kTileN>(p, first);
    if (!is_fixed() && (p.alike != 0 || p.batch == 1)) find_among_alike();
  }

  /// Whether there is one more, which is then in `share`.
  KILN_DEVICE bool next(DecodeShare& share) {
    if (is_fixed()) {
      const bool first = next_ < end_;
      next_ = end_;
      return first && fixed_share(share);
    }
    while (next_ < end_) {
      while (next_ >= before_ + work_of(sequence_)) {  // a later sequence has what is left
        before_ += work_of(sequence_);
        sequence_ = decode_sequence<kTileM, kTileN>(p_, sequence_.batch + 1);
      }
      const i32 in_sequence = next_ - before_;
      const i32 length = row_tile_work(sequence_);
      const i32 row_tile = in_sequence < length ? 0 : quotient(in_sequence, length);
      const i32 begin = in_sequence - row_tile * length;
      const i32 end = min(begin + end_ - next_, length);
      const TileRange tiles{max(begin - p_.split.share_cost, 0), end - p_.split.share_cost};
      share = {.sequence = sequence_,
               .row_tile = row_tile,
               .tiles = {sequence_.first_tile + tiles.begin, sequence_.first_tile + tiles.end},
               .first_work = next_ - begin + p_.split.share_cost};
      next_ += end - begin;
      if (tiles.begin < tiles.end) return true;  // else the next group has all of them
    }
    return false;
  }

  /// Of a share that next() gave. Apart from it, since copies need not wait for this.
  KILN_DEVICE DecodeParts parts_of(const DecodeShare& share) const {
    if (is_fixed()) {
      const i32 counter = share.sequence.batch * p_.split.row_tiles + share.row_tile;
      const i32 first_place = counter * p_.split.splits;
      return {.part = group_ - first_place,
              .count = fixed_parts(share.sequence.tiles),
              .counter = counter,
              .first_place = first_place,
              .place_step = 1};
    }
    const i32 first_group = shares_.part_of(share.first_work);
    const i32 last_group = shares_.part_of(share.first_work + share.sequence.tiles - 1);
    return {.part = group_ - first_group,
            .count = last_group - first_group + 1,
            .counter = first_group,
            .first_place = 2 * first_group,
            .place_step = 2};
  }

 private:
  KILN_DEVICE bool is_fixed() const { return p_.split.splits > 0; }

  /// Balanced: what a row tile costs, then its tiles.
  KILN_DEVICE i32 row_tile_work(const DecodeSequence& sequence) const { return p_.split.share_cost + sequence.tiles; }
  KILN_DEVICE i32 work_of(const DecodeSequence& sequence) const { return sequence.row_tiles * row_tile_work(sequence); }

  KILN_DEVICE i32 fixed_parts(i32 tiles) const {
    const i32 size = p_.split.split_tiles;
    return size > 0 ? quotient(tiles + size - 1, size) : min(tiles, p_.split.splits);
  }

  /// Group = split, the first running fastest, of a row tile of a sequence. False if there is no such row tile or
  /// split.
  KILN_DEVICE bool fixed_share(DecodeShare& share) const {
    const i32 tiles = sequence_.tiles;
    const i32 index = group_ - sequence_.batch * p_.split.row_tiles * p_.split.splits;
    const i32 row_tile = quotient(index, p_.split.splits);
    const i32 part = index - row_tile * p_.split.splits;
    const i32 size = p_.split.split_tiles;
    const i32 parts = fixed_parts(tiles);
    const EvenShares even(tiles, parts);
    const i32 begin = size > 0 ? part * size : even.begin(part);
    const i32 end = size > 0 ? min(begin + size, tiles) : even.begin(part + 1);
    share = {.sequence = sequence_,
             .row_tile = row_tile,
             .tiles = {sequence_.first_tile + begin, sequence_.first_tile + end},
             .first_work = 0};
    return row_tile < sequence_.row_tiles && part < parts;
  }

  KILN_DEVICE void set_range(i32 all_work) {
    shares_ = EvenShares(all_work, p_.split.groups);
    next_ = shares_.begin(group_);
    end_ = shares_.begin(group_ + 1);
  }

  KILN_DEVICE void find_among_alike() {
    const i32 work = work_of(sequence_);
    set_range(p_.batch * work);
    if (next_ >= end_ || next_ < work) return;
    sequence_.batch = quotient(next_, work);
    before_ = sequence_.batch * work;
  }

  /// The sequence that the group's work begins in, or one before it.
  KILN_DEVICE i32 find_first(u32 lane) {
    const i32 of_a_lane = static_cast<i32>(ceil_div(static_cast<u32>(p_.batch), kWarpSize));
    const i32 first = static_cast<i32>(lane) * of_a_lane;
    const i32 end = min(first + of_a_lane, p_.batch);
    i32 work = 0;
#pragma unroll 1
    for (i32 b = first; b < end; ++b) work += work_of(decode_sequence<kTileM, kTileN>(p_, b));
    i32 work_end = work;  // of this lane's sequences, among those of all lanes
#pragma unroll
    for (u32 distance = 1; distance < kWarpSize; distance *= 2) {
      const i32 other = __shfl_up_sync(kAllLanes, work_end, distance);
      if (lane >= distance) work_end += other;
    }
    set_range(__shfl_sync(kAllLanes, work_end, kWarpSize - 1));
    if (next_ >= end_) return 0;
    const i32 owner = __ffs(static_cast<i32>(__ballot_sync(kAllLanes, next_ < work_end))) - 1;
    before_ = __shfl_sync(kAllLanes, work_end - work, owner);
    return owner * of_a_lane;
  }

  const DecodeParams& p_;
  i32 group_;
  EvenShares shares_{0, 1};  // balanced: of the work of all sequences
  i32 before_ = 0;           // balanced: the work of earlier ones than sequence_
  i32 next_ = 0;             // what is left of the group's work: next_ … end_ − 1
  i32 end_ = 0;
  DecodeSequence sequence_;
};

}  // namespace kiln::device
