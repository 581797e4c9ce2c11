#pragma once

#include <kiln/attention.hpp>

#include <cstdint>

namespace kiln::test {

/// What a kernel may get wrong: those of scripts/seeded_bugs.py that can be told without a GPU.
enum class Mistake : std::uint8_t {
  none,
  diagonal_off_by_one,
  window_sides_swapped,
  value_tail_read,  ///< what lies behind the last key is multiplied by 0
  sink_counted_twice,
  heads_by_modulo,
  softcap_after_mask,
  alibi_without_delta,
  last_tile_unmasked,  ///< keys that aren't there score 0
  empty_lse_zero,
  // Of decode alone.
  split_boundary_off_by_one,  ///< the first key of each split but the first is left out
  last_page_length_ignored,   ///< the last page of a list counts as full
  left_padding_ignored,
  first_cache_row_for_all,
  tree_bit_off_by_one,
};

/// A call whose pointers are host memory, in plain loops over its arguments: shares nothing with the reference or the
/// suite's tensors, so that each shows what the other gets wrong.
void plain_attention(const AttentionConfig& config, const ForwardArgs& args, Mistake mistake);
void plain_attention(const AttentionConfig& config, const DecodeArgs& args, Mistake mistake);

}  // namespace kiln::test
