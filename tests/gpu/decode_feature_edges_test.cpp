// Where the features of decode usually break: new tokens, what they see, trees of them.
#include "gpu/decode_features.hpp"

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

namespace kiln::test {
namespace {

using namespace decode_features;

INSTANTIATE_TEST_SUITE_P(Types, DecodeFeatures, ::testing::Values(DType::bf16, DType::f16),
                         [](const auto& test) { return std::string(name_of(test.param)); });

TEST_P(DecodeFeatures, NewTokensAloneInTheCache) {
  // As many keys as queries, or fewer: of a causal prompt the first rows then see nothing.
  run_split({.config = of(kCausal), .len_q = 20, .max_len_k = 300, .lengths = {20, 21, 19, 7, 1, 0}});
  const DecodeCall call = run({.config = of(kCausal), .len_q = 20, .max_len_k = 300, .lengths = {300, 7}});
  for (int i = 0; i < 13; ++i) expect_empty_row(call, 1, i, -kInf);
  EXPECT_TRUE(std::isfinite(call.lse.download()[8 * 20 + 13]));
}

TEST_P(DecodeFeatures, WindowsThatSeeNothing) {
  // On either side of the keys, and a window on the left of it all.
  for (const auto& [left, right] : {std::pair{0, 0}, {0, -1}, {-1, 0}, {3, 2}, {-1, 100}, {200, -1}, {64, 0}}) {
    DecodeCase test{.config = of(kSlidingTopLeft), .len_q = 17, .max_len_k = 300, .lengths = {300, 9, 130, 0}};
    test.window_left = left;
    test.window_right = right;
    run_split(test);
    test.config = of(kSliding);
    run_split(test);
  }
}

TEST_P(DecodeFeatures, WindowsOfTheConfig) {
  for (const AttentionConfig& config : kFixedWindows)
    run_split({.config = of(config), .len_q = 9, .max_len_k = 400, .lengths = {400, 3, 128}});
}

TEST_P(DecodeFeatures, EveryRatioOfHeadsInTilesOfEverySize) {
  for (const int rows : kRows)
    for (const int group : {1, 2, 3, 4, 5, 7, 8, 12, 16, 71})
      for (const int len_q : {1, 3, 16})
        run({.config = of(with_rows(kCausal, rows)),
             .len_q = len_q,
             .max_len_k = 150,
             .heads_q = 2 * group,
             .heads_kv = 2,
             .lengths = {150, 37}});
}

TEST_P(DecodeFeatures, HeadDimsThatTheCoverLacks) {
  for (const int dim : kHeadDims)
    run({.config = of({.head_dim_qk = dim, .head_dim_v = dim}),
         .len_q = 3,
         .max_len_k = 190,
         .lengths = {190, 5, 64},
         .layout = Layout::padded});
}

TEST_P(DecodeFeatures, PrefillAndDecodeInOneCall) {
  for (const int rows : kRows)
    for (const bool paged : {false, true})
      for (const Split& split : kSplits)
        run({.config = of(with_rows(paged ? kCausalRaggedPaged : kCausalRagged, rows)),
             .len_q = 300,
             .max_len_k = 700,
             .lengths = {650, 700, 30, 64, 1, 300, 0},
             .num_splits = split.num,
             .split_size = split.size,
             .tokens = {.cu = {0, 1, 301, 302, 310, 311, 611, 612}, .total = 615}});
}

TEST_P(DecodeFeatures, ThousandsOfShortSequences) {
  constexpr int kBatch = 3000;
  NewTokens tokens{.cu = {0}};
  std::vector<std::int32_t> lengths;
  for (int b = 0; b < kBatch; ++b) {
    tokens.cu.push_back(tokens.cu.back() + b % 4);
    lengths.push_back(b % 7);
  }
  tokens.total = tokens.cu.back();
  for (const Split& split : kSplits)
    run({.config = of(kShort),
         .len_q = 3,
         .max_len_k = 6,
         .heads_q = 4,
         .heads_kv = 2,
         .lengths = lengths,
         .num_splits = split.num,
         .split_size = split.size,
         .tokens = tokens});
}

TEST_P(DecodeFeatures, NoSequenceHasNewTokens) {
  run({.config = of(kRagged), .len_q = 4, .max_len_k = 90, .lengths = {90, 5}, .tokens = {.used = {0, -3}}});
  run({.config = of(kRagged),
       .len_q = 4,
       .max_len_k = 90,
       .lengths = {90, 5},
       .tokens = {.cu = {3, 3, 3}, .total = 9}});
  run({.config = of(kRagged), .len_q = 4, .max_len_k = 90, .lengths = {90, 5}, .tokens = {.cu = {0, 0, 0}}});
  run({.config = of(kRagged), .len_q = 4, .max_len_k = 90, .lengths = {90, 5}, .tokens = {.used = {kMost, kLeast}}});
}

TEST_P(DecodeFeatures, AChainIsATreeLikeAnyOther) {
  // Each token sees itself and all before it: the bits of a causal call.
  DecodeCase test{.config = of(kCausal), .len_q = 40, .max_len_k = 300, .lengths = {300, 41, 40}, .num_splits = 3};
  DecodeCall call(test);
  check(call);
  const auto causal = call.out.elements();
  call.test.tree = Tree::shared;
  call.tree.clear();
  constexpr int kWords = 3;  // two that hold bits, one between rows
  for (int i = 0; i < 40; ++i) {
    const std::uint64_t seen = (std::uint64_t{2} << i) - 1;
    call.tree.push_back(static_cast<std::uint32_t>(seen));
    call.tree.push_back(static_cast<std::uint32_t>(seen >> 32U));
    call.tree.push_back(0xffff'ffffU);
  }
  ASSERT_EQ(call.args().tree.row_stride, kWords);
  check(call);
  EXPECT_TRUE(call.out.elements() == causal);
  call.test.config = of(kPlain);
  check(call);
  EXPECT_TRUE(call.out.elements() == causal);
}

TEST_P(DecodeFeatures, TreesOfEveryShape) {
  for (const Tree tree : {Tree::branches, Tree::shared, Tree::bits})
    for (const int len_q : {1, 2, 16, 31, 32, 33, 64, 65})
      for (const bool paged : {false, true})
        run_split({.config = of(paged ? kPaged : kCausal),
                   .len_q = len_q,
                   .max_len_k = 200,
                   .heads_q = 6,
                   .lengths = {200, 65, 33, 16, 1, 0},
                   .tree = tree,
                   .page_size = 5});
}

TEST_P(DecodeFeatures, ATreeThatHidesEverything) {
  DecodeCall call({.config = of(kPlain), .len_q = 5, .max_len_k = 90, .lengths = {5, 90}, .tree = Tree::bits});
  std::ranges::fill(call.tree, 0U);
  check(call);
  for (int i = 0; i < 5; ++i) expect_empty_row(call, 0, i, -kInf);
}

TEST_P(DecodeFeatures, TreesOfRaggedTokens) {
  run_split({.config = of(kRagged),
             .len_q = 40,
             .max_len_k = 200,
             .lengths = {200, 40, 30, 100, 64},
             .tree = Tree::branches,
             .tokens = {.cu = {0, 40, 41, 74, 74, 80}, .used = {40, 1, 20, 7, 6}, .total = 81}});
}

}  // namespace
}  // namespace kiln::test
