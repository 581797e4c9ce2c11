#pragma once

#include <kiln/merge.hpp>

#include <cstdint>

namespace kiln::test {

/// What a merging kernel may get wrong.
enum class MergeMistake : std::uint8_t {
  none,
  no_maximum,          ///< weights are e^LSE, which float32 can't hold
  empty_states_count,  ///< what has no weight is multiplied by 0
  last_state_left_out,
  result_strides_for_lses,
  natural_for_base2,
  empty_lse_zero,
};

/// A merge whose pointers are host memory, in plain loops over its arguments.
void plain_merge(const MergeConfig& config, const MergeArgs& args, MergeMistake mistake);

}  // namespace kiln::test
