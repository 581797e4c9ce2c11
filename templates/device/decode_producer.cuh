// Decode: what copies queries and keys to shared memory, ahead of the arithmetic.
#pragma once

#include "device/base.cuh"
#include "device/decode_block.cuh"
#include "device/page_size.cuh"
#include "device/paged_rows.cuh"
#include "device/params.cuh"
#include "device/ptx.cuh"
#include "device/tile_copy.cuh"

namespace kiln::device {

/// Whether copies of the next share begin under the arithmetic of the one at hand.
inline constexpr bool kLooksAhead = config::kCapability >= 80;  // else copies are done at once

using QueryCopy = TileCopy<config::kTileM, config::kHeadDimQk, kThreads>;

/// The copies of one warp, from share to share: no further than the one after that at hand, which is the one queued.
class Producer {
 public:
  KILN_DEVICE Producer(const DecodeParams& p, Smem& smem, u32 thread) : p_(p), smem_(smem), thread_(thread) {}

  /// What to copy next.
  KILN_DEVICE void queue(const Keys& keys, const Rows& rows) {
    if constexpr (kLooksAhead) {
      queued_keys_ = keys;
      queued_rows_ = rows;
      is_queued_ = true;
    } else {
      enter(keys);
      copy_queries(rows);
    }
  }

  /// Copies this warp's keys of the next tile, with the first of a share its part of Q: one commit group, empty if
  /// there is none.
  KILN_DEVICE void start_next() {
    if (kLooksAhead && keys_.tiles.begin >= keys_.tiles.end && is_queued_) {
      enter(queued_keys_);
      is_queued_ = false;
      is_new_ = true;
    }
    if (keys_.tiles.begin < keys_.tiles.end) {
      copy(smem_);
      if (kLooksAhead && is_new_) copy_queries(queued_rows_);
      is_new_ = false;
      ++keys_.tiles.begin;
      stage_ = following(stage_);
      look_up_pages();
    } else {
      ++missing_;
    }
    ptx::cp_async_commit_group();
  }

  /// Waits for the copies of the tile at hand, the oldest under way.
  KILN_DEVICE void wait() const {
    if (kCanHoldBack && is_held_back_) {
      ptx::cp_async_wait_group<max(config::kStages - 3, 0)>();
    } else {
      ptx::cp_async_wait_group<config::kStages - 2>();
    }
  }

  /// Starts the next copy once the tile at hand, the tiles_before + 1st of its share, has come. Memory as a whole is
  /// faster if in long shares each block has one tile less under way; what is missing is caught up with behind them.
  KILN_DEVICE void go_on(i32 tiles_before) {
    if (kCanHoldBack && tiles_before == p_.full_depth && !is_held_back_) {
      is_held_back_ = true;
      ++missing_;
    } else {
      start_next();
    }
  }

  /// Copies that could not be started when they should have been.
  KILN_DEVICE void catch_up() {
    is_held_back_ = false;
    i32 left = missing_;
    missing_ = 0;
#pragma unroll 1
    for (; left > 0; --left) start_next();
  }

 private:
  KILN_DEVICE u32 thread() const { return kKeepsPlaces ? thread_ : ptx::mov_tid_x(); }
  KILN_DEVICE i32 warp() const { return static_cast<i32>(thread() / kWarpSize); }
  KILN_DEVICE u32 lane() const { return thread() % kWarpSize; }

  KILN_DEVICE void enter(const Keys& keys) {
    keys_ = keys;
    which_q_ ^= 1;
    if constexpr (config::kPaged) look_up_more_pages();
  }

  KILN_DEVICE void copy_queries(const Rows& rows) {
    const auto* const q = static_cast<const Element::Storage*>(p_.q);
    QueryCopy::load_rows(ptx::cvta_to_shared(smem_.q[which_q_]), rows.count, thread(),
                         [&](i32 row) { return q + rows.offset(p_, p_.q_strides, row); });
  }

  /// Shared is Smem, which has slots only with pages: hence a template.
  template <class Shared>
  KILN_DEVICE void copy(Shared& smem) {
    using KeyCopy = TileCopy<kCopyKeys, config::kHeadDimQk, kWarpSize>;
    using ValueCopy = TileCopy<kCopyKeys, config::kHeadDimV, kWarpSize>;
    const i32 warp = this->warp();
    const u32 lane = this->lane();
    const u32 k = ptx::cvta_to_shared(smem.place(stage_).k + warp * kCopyKeys * kPaddedDimQk);
    const u32 v = ptx::cvta_to_shared(smem.place(stage_).v + warp * kCopyKeys * kPaddedDimV);
    const i32 first = keys_.tiles.begin * config::kTileN + warp * kCopyKeys;
    const i32 valid = keys_.len - first;
    if constexpr (config::kPaged) {
      if (whole_groups()) {
        copy_groups(k, v, valid);
        return;
      }
      auto& slot = smem.slot(static_cast<u32>(warp));
      __syncwarp();  // the last copy has read its rows
#pragma unroll
      for (i32 i = 0; i < kLookUps; ++i) {
        const i32 row = static_cast<i32>(lane) + i * static_cast<i32>(kWarpSize);
        if (row < min(valid, kCopyKeys)) slot.put(p_, row, keys_.padding + first + row, pages_[i]);
      }
      __syncwarp();
      KeyCopy::load_rows(k, valid, lane, [&](i32 row) { return keys_.k + slot.k[row]; });
      ValueCopy::load_rows(v, valid, lane, [&](i32 row) { return keys_.v + slot.v[row]; });
    } else {
      // A warp whose keys all lie beyond the end must not form their address.
      const i64 row = valid > 0 ? first : 0;
      KeyCopy::load(k, keys_.k + row * p_.k_strides.row, p_.k_strides.row, valid, lane);
      ValueCopy::load(v, keys_.v + row * p_.v_strides.row, p_.v_strides.row, valid, lane);
    }
  }

  /// Copies keys whose groups lie in one page each, whose rows then follow each other.
  KILN_DEVICE void copy_groups(u32 k, u32 v, i32 valid) {
    using KeyCopy = TileCopy<kGroupKeys, config::kHeadDimQk, kWarpSize>;
    using ValueCopy = TileCopy<kGroupKeys, config::kHeadDimV, kWarpSize>;
    const u32 lane = this->lane();
#pragma unroll
    for (i32 group = 0; group < kGroups; ++group) {
      const i32 key = group * kGroupKeys;
      const i32 left = valid - key;
      KeyCopy::load(k + static_cast<u32>(key * kPaddedDimQk * Element::kBytes),
                    begin_of_group(group, left, keys_.k, p_.k_strides), p_.k_strides.row, left, lane);
      ValueCopy::load(v + static_cast<u32>(key * kPaddedDimV * Element::kBytes),
                      begin_of_group(group, left, keys_.v, p_.v_strides), p_.v_strides.row, left, lane);
    }
  }

  /// Where the first key of a group lies, of which `left` exist.
  KILN_DEVICE const Element::Storage* begin_of_group(i32 group, i32 left, const Element::Storage* page_0,
                                                     const Strides& strides) const {
    const i64 known = __shfl_sync(kAllLanes, pages_[0], static_cast<i32>(used_pages_) + group);
    const i64 page = left > 0 ? known : 0;  // of others none was looked up
    const i32 key = keys_.tiles.begin * config::kTileN + warp() * kCopyKeys + group * kGroupKeys;
    return page_0 + page * strides.batch + place_of_key(p_.page, keys_.padding + key).row * strides.row;
  }

  /// Reads pages of what is copied next, early enough for it not to wait: of each of the next copy's keys, or, where a
  /// group needs but one, of as many tiles as there are lanes for.
  KILN_DEVICE void look_up_pages() {
    if constexpr (config::kPaged) {
      if (whole_groups() && used_pages_ + kGroups < kWarpSize) {
        used_pages_ += kGroups;
      } else {
        look_up_more_pages();
      }
    }
  }

  KILN_DEVICE void look_up_more_pages() {
    used_pages_ = 0;
    const i32 first = keys_.tiles.begin * config::kTileN + warp() * kCopyKeys;
    const i32 end = min(keys_.len, keys_.tiles.end * config::kTileN);
    const i32 lane = static_cast<i32>(this->lane());
    if (whole_groups()) {
      const i32 key = first + lane / kGroups * config::kTileN + lane % kGroups * kGroupKeys;
      if (key < end) pages_[0] = keys_.pages[place_of_key(p_.page, keys_.padding + key).page];
      return;
    }
#pragma unroll
    for (i32 i = 0; i < kLookUps; ++i) {
      const i32 row = lane + i * static_cast<i32>(kWarpSize);
      const i32 key = first + row;
      if (row < kCopyKeys && key < end) pages_[i] = keys_.pages[place_of_key(p_.page, keys_.padding + key).page];
    }
  }

  /// Whether the keys of a group share a page, wherever in the sequence they are.
  KILN_DEVICE bool whole_groups() const {
    return kHasGroups && p_.page.keys % kGroupKeys == 0 && static_cast<u32>(keys_.padding) % kGroupKeys == 0;
  }

  static constexpr i32 kGroupKeys = 16;  // that a page may well hold
  static constexpr bool kHasGroups = kCopyKeys % kGroupKeys == 0;
  static constexpr i32 kGroups = max(kCopyKeys / kGroupKeys, 1);
  static_assert(static_cast<i32>(kWarpSize) % kGroups == 0);
  static constexpr i32 kLookUps = ceil_div(kCopyKeys, static_cast<i32>(kWarpSize));

  /// Where warps share the rows out, arithmetic takes as long as the copies, and needs them early.
  static constexpr bool kCanHoldBack = config::kStages > 2 && warp_grid().rows == 1;

  const DecodeParams& p_;
  Smem& smem_;
  u32 thread_;
  i32 missing_ = config::kStages - 1;  // copies to be caught up with
  bool is_held_back_ = false;          // on purpose one of them
  i32 stage_ = 0;                      // of the next tile
  i32 which_q_ = 1;                    // place of Q
  bool is_new_ = false;                // Q is to be copied
  Keys keys_{};                        // of which tiles.begin is copied next
  bool is_queued_ = false;
  Keys queued_keys_{};
  Rows queued_rows_{};
  i32 pages_[config::kPaged ? kLookUps : 1];  // looked up
  u32 used_pages_ = 0;                        // of them, where a group needs one
};

}  // namespace kiln::device
