#include "gpu/forward_case.hpp"

#include <fmt/format.h>

#include <ostream>

namespace kiln::test {

std::string name_of(const ForwardCase& test) {
  const AttentionConfig& config = test.config;
  std::string name = name_of(config);
  if (config.window == Window::sliding) name += sides(test.window_left, test.window_right);
  name += fmt::format("_b{}_q{}_k{}_h{}x{}_{}", test.batch, test.len_q, test.len_k, test.heads_q, test.heads_kv,
                      to_string(test.layout));
  if (!test.sequences.cu_q.empty()) name += fmt::format("_cuq{}", test.sequences.total_q);
  if (!test.sequences.cu_k.empty()) name += fmt::format("_cuk{}", test.sequences.cu_k.back());
  if (!test.sequences.used_q.empty()) name += "_usedq";
  if (!test.sequences.used_k.empty()) name += "_usedk";
  if (config.paged) name += fmt::format("_page{}", test.page_size);
  return name + end_of_name(test);
}

std::string description(const ForwardCase& test) {
  const SequenceCase& sequences = test.sequences;
  return describe(test, {{"cu_seqlens_q", sequences.cu_q},
                         {"cu_seqlens_k", sequences.cu_k},
                         {"seqused_q", sequences.used_q},
                         {"seqused_k", sequences.used_k}});
}

void PrintTo(const ForwardCase& test, std::ostream* out) { *out << description(test) << ", seed " << test.seed; }

}  // namespace kiln::test
