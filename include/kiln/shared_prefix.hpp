#pragma once

#include <kiln/attention.hpp>
#include <kiln/export.h>
#include <kiln/runtime.hpp>

#include <cstddef>
#include <cstdint>

namespace kiln {

/// Keys and values that every sequence of a batch begins with.
struct SharedPrefix {
  Input k{};    ///< [len, heads_kv, head_dim_qk], or pages; strides.batch is from page to page, else not used
  Input v{};    ///< [len, heads_kv, head_dim_v], or pages
  int len = 0;  ///< with a length on the device: the most
  /// Device memory, one number: how many keys the prefix has. Read by the kernel, so a captured graph follows it. Null:
  /// len. The value is clamped to [0, len].
  const std::int32_t* length = nullptr;
  /// config.paged only: device memory, ⌈len / page_size⌉ pages of DecodeArgs::pages.page_size keys each.
  const std::int32_t* page_table = nullptr;
};

/// Decode of a batch whose sequences share a prefix, which is read once for all of them: attention over the prefix,
/// attention over what each sequence has of its own, and a merge of the two; three kernels one after the other. A copy
/// is cheap, and one may be used from many threads.
class KILN_API SharedPrefixDecode {
 public:
  /// `args` is of each sequence's own keys, the new tokens' included, as if there were no prefix: lengths, pages and
  /// all else count from the first key behind it. Queries lie one behind the other: packed, total_q just the last entry
  /// of cu_seqlens_q, or so that q.strides.batch = len_q · q.strides.row. seqused_q is refused: pack them instead.
  void launch(Stream stream, const DecodeArgs& args, const SharedPrefix& prefix) const;
  /// Exact size of the workspace that a call with these shapes needs; pointers are not looked at. As a decode call's it
  /// is zeroed once, and one for all calls on a stream may be as large as the largest.
  [[nodiscard]] std::size_t workspace_bytes(const DecodeArgs& args, const SharedPrefix& prefix) const;

 private:
  friend class Runtime;
  SharedPrefixDecode(DecodeKernel prefix, DecodeKernel own, MergeKernel merge);
  DecodeKernel prefix_;
  DecodeKernel own_;
  MergeKernel merge_;
};

}  // namespace kiln
