#pragma once

#include <kiln/kiln.h>
#include <kiln/runtime.hpp>
#include <kiln/shared_prefix.hpp>

namespace kiln::c_api {

/// The C structs, read already, as C++ has them. Error(invalid_argument) for values that C++ can't even hold; what
/// they mean is checked there.
AttentionConfig to_cpp(const kiln_attention_config& config);
ForwardArgs to_cpp(const kiln_forward_args& args);
DecodeArgs to_cpp(const kiln_decode_args& args);
SharedPrefix to_cpp(const kiln_shared_prefix& prefix);
MergeConfig to_cpp(const kiln_merge_config& config);
MergeArgs to_cpp(const kiln_merge_args& args);
KernelKind to_kind(std::int32_t kind);
/// Error(invalid_argument) unless the member, which has no meaning yet, is 0.
void check_reserved(std::int32_t reserved);

kiln_attention_config to_c(const AttentionConfig& config);
kiln_merge_config to_c(const MergeConfig& config);
kiln_progress to_c(const Progress& progress);
kiln_stats to_c(const Stats& stats);
/// The configs: what the result points to, that of the kernel's kind.
kiln_kernel_info to_c(const KernelInfo& info, const kiln_attention_config& config, const kiln_merge_config& merge);

}  // namespace kiln::c_api
