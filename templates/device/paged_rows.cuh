// Where the keys of a tile lie when they are in pages.
#pragma once

#include "device/base.cuh"
#include "device/page_size.cuh"
#include "device/params.cuh"

namespace kiln::device {

/// Elements from row 0 of page 0 to each key of a tile. In shared memory: every thread copies chunks of many rows.
template <i32 kRows>
struct PagedRows {
  i64 k[kRows];
  i64 v[kRows];

  /// For keys first_key … first_key + kRows − 1 of a sequence. Those at or beyond len_k are not looked up.
  template <u32 kThreads>
  KILN_DEVICE void look_up(const AttentionParams& p, i32 batch, i32 first_key, i32 len_k, u32 thread) {
    const i32* pages = p.page_table + batch * p.page_table_stride;
#pragma unroll
    for (i32 row = static_cast<i32>(thread); row < kRows; row += static_cast<i32>(kThreads)) {
      const i32 key = first_key + row;
      if (key >= len_k) return;
      put(p, row, key, pages[place_of_key(p.page, key).page]);
    }
  }

  /// Row `row` is key `key` of a sequence, which lies in page `page` of the cache.
  KILN_DEVICE void put(const AttentionParams& p, i32 row, i32 key, i64 page) {
    const i64 in_page = place_of_key(p.page, key).row;
    k[row] = page * p.k_strides.batch + in_page * p.k_strides.row;
    v[row] = page * p.v_strides.batch + in_page * p.v_strides.row;
  }
};

/// One for each tile under way, or nothing at all without pages.
template <bool kPaged, i32 kSlots, i32 kRows>
struct PageSlots {
  PagedRows<kRows> slots[kSlots];

  KILN_DEVICE PagedRows<kRows>& slot(u32 stage) { return slots[stage]; }
  KILN_DEVICE const PagedRows<kRows>& slot(u32 stage) const { return slots[stage]; }
};

template <i32 kSlots, i32 kRows>
struct PageSlots<false, kSlots, kRows> {};

}  // namespace kiln::device
