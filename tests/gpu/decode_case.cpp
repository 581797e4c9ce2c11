#include "gpu/decode_case.hpp"

#include <fmt/format.h>

#include <ostream>

namespace kiln::test {
namespace {

std::string_view name_of(Tree tree) {
  switch (tree) {
    case Tree::none:
      return "";
    case Tree::branches:
      return "_trees";
    case Tree::shared:
      return "_tree";
    case Tree::bits:
      return "_bits";
  }
  return "?";
}

}  // namespace

std::string name_of(const DecodeCase& test) {
  const AttentionConfig& config = test.config;
  std::string name = name_of(config);
  if (config.decode_rows != AttentionConfig{}.decode_rows) name += fmt::format("_rows{}", config.decode_rows);
  if (config.window == Window::sliding) name += sides(test.window_left, test.window_right);
  name += fmt::format("_b{}_q{}_n{}_h{}x{}_{}", test.batch(), test.len_q, test.max_len_k, test.heads_q, test.heads_kv,
                      to_string(test.layout));
  if (!test.tokens.cu.empty()) name += fmt::format("_cuq{}", test.tokens.total);
  if (!test.tokens.used.empty()) name += "_usedq";
  if (!test.pass_lengths) name += "_whole";
  if (!test.cache_rows.empty()) name += "_cacherows";
  if (!test.left_padding.empty()) name += "_padding";
  if (config.paged) name += fmt::format("_page{}{}", test.page_size, test.page_lists.indptr.empty() ? "" : "_lists");
  name += name_of(test.tree);
  if (test.num_splits > 0) name += fmt::format("_splits{}", test.num_splits);
  if (test.split_size > 0) name += fmt::format("_size{}", test.split_size);
  return name + end_of_name(test);
}

std::string description(const DecodeCase& test) {
  return describe(test, {{"lengths", test.pass_lengths ? test.lengths : std::vector<std::int32_t>{}},
                         {"cu_seqlens_q", test.tokens.cu},
                         {"seqused_q", test.tokens.used},
                         {"cache_rows", test.cache_rows},
                         {"left_padding", test.left_padding},
                         {"indptr", test.page_lists.indptr},
                         {"last_page_len", test.page_lists.last_page_len}});
}

void PrintTo(const DecodeCase& test, std::ostream* out) { *out << description(test) << ", seed " << test.seed; }

}  // namespace kiln::test
