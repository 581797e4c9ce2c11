#include "gpu/decode_case.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

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
  if (config.softcap) name += fmt::format("_cap{:.0f}", test.softcap);
  if (config.alibi && test.slopes_per_sequence) name += "_slopes";
  if (config.bias != Bias::none) name += bias_name(test.bias);
  if (test.scale) name += "_scale" + mille(*test.scale);
  if (test.lse) name += test.lse_base2 ? "_lse2" : "_lse";
  if (test.seed != 0) name += fmt::format("_s{}", test.seed);
  return name;
}

std::string description(const DecodeCase& test) {
  DecodeCase unseeded = test;
  unseeded.seed = 0;
  std::string text = name_of(unseeded);
  const auto add = [&](std::string_view name, const std::vector<std::int32_t>& values) {
    if (!values.empty()) text += fmt::format(" {} {}", name, values);
  };
  if (test.pass_lengths) add("lengths", test.lengths);
  add("cu_seqlens_q", test.tokens.cu);
  add("seqused_q", test.tokens.used);
  add("cache_rows", test.cache_rows);
  add("left_padding", test.left_padding);
  add("indptr", test.page_lists.indptr);
  add("last_page_len", test.page_lists.last_page_len);
  return text;
}

void PrintTo(const DecodeCase& test, std::ostream* out) { *out << description(test) << ", seed " << test.seed; }

}  // namespace kiln::test
