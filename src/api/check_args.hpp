#pragma once

#include "plan/decode_split.hpp"

#include <kiln/attention.hpp>

namespace kiln::api {

/// Throws Error(invalid_argument) naming the value and the limit unless a kernel of this config may run
/// with these arguments. The only check between a caller and the kernel.
void check(const AttentionConfig& config, const ForwardArgs& args);
/// A call with no query: no pointer needs to be there.
bool writes_nothing(const ForwardArgs& args);
bool writes_nothing(const DecodeArgs& args);
void check(const AttentionConfig& config, const DecodeArgs& args);
/// Only what the workspace's size depends on.
void check_shape(const AttentionConfig& config, const DecodeArgs& args);
/// That the kernels can count what a split of a call makes.
void check_split(const DecodeArgs& args, int tile_m, const plan::DecodeSplit& split);
void check_workspace(const DecodeArgs& args, std::size_t needed_bytes);

}  // namespace kiln::api
