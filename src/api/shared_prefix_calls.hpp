#pragma once

#include <kiln/merge.hpp>
#include <kiln/shared_prefix.hpp>

#include <cstddef>
#include <cstdint>

namespace kiln::api {

/// What is asked of the three kernels behind SharedPrefixDecode. Error(unsupported) where positions matter.
struct SharedPrefixConfigs {
  AttentionConfig prefix;
  AttentionConfig own;
  MergeConfig merge;

  explicit SharedPrefixConfigs(const AttentionConfig& config);
};

/// Offsets and size in bytes. The two decode calls share a workspace, one after the other. States begin behind all that
/// counters may ever take, whatever the call: a call leaves counters zero, but states as they were.
struct SharedPrefixLayout {
  std::size_t prefix_out;
  std::size_t own_out;
  std::size_t prefix_lse;
  std::size_t own_lse;
  std::size_t bytes;

  /// `decode_bytes`: what either decode call needs.
  SharedPrefixLayout(std::size_t decode_bytes, const DecodeArgs& args, int head_dim_v);
};

/// Error(invalid_argument) unless the new tokens are one sequence's to the prefix.
void check_shared_prefix(const DecodeArgs& args);

/// Everything about the prefix is of one sequence, which has all new tokens. Its results are not placed yet.
DecodeArgs prefix_args(const DecodeArgs& args, const SharedPrefix& prefix);

/// The three calls, with partial results between them in args.workspace.
struct SharedPrefixCalls {
  DecodeArgs prefix;
  DecodeArgs own;
  MergeArgs merge;

  SharedPrefixCalls(const DecodeArgs& args, const SharedPrefix& shared, const SharedPrefixLayout& layout,
                    int head_dim_v);
};

}  // namespace kiln::api
