// Which page of its sequence a key lies in. The host prepares the division.
#pragma once

#include "device/base.cuh"
#include "device/params.cuh"

namespace kiln::device {

KILN_DEVICE constexpr PageSize page_size_of(i32 keys) {
  constexpr unsigned long long kWhole = 1ull << 32;
  const auto count = static_cast<u32>(keys);
  return {count, count > 1 ? static_cast<u32>(kWhole / count) : ~0u};
}

/// Where a key of a sequence lies in its pages.
struct KeyPlace {
  u32 page;
  u32 row;
};

KILN_DEVICE constexpr KeyPlace place_of_key(const PageSize& size, i32 key) {
  const auto at = static_cast<u32>(key);
  u32 page = static_cast<u32>(static_cast<unsigned long long>(at) * size.inverse >> 32);  // or one less than it is
  u32 row = at - page * size.keys;
  if (row >= size.keys) {
    ++page;
    row -= size.keys;
  }
  return {page, row};
}

}  // namespace kiln::device
