// Decode kernels, run on the host, against float64.
#include "device/decode_call.hpp"
#include "device/emulator/barriers.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

namespace emulator {
namespace {

class DecodeKernel : public ::testing::TestWithParam<DecodeCase> {};

TEST_P(DecodeKernel, MatchesFloat64) {
  DecodeCall call(GetParam());
  call.launch();
  call.expect_right();
}

/// The counters are left at zero: a second call on the same workspace gives the same bits.
TEST_P(DecodeKernel, RepeatsOnItsWorkspace) {
  DecodeCall call(GetParam());
  call.launch();
  const auto first = call.o.bits();
  const std::vector<float> first_lse = call.lse;
  call.lse.assign(call.lse.size(), NAN);
  call.launch();
  EXPECT_EQ(call.o.bits(), first);
  for (std::size_t i = 0; i < first_lse.size(); ++i) {
    EXPECT_TRUE(call.lse[i] == first_lse[i] || std::isnan(first_lse[i])) << i;
  }
}

const auto* const bf16 = &decode_bf16_d128;
const auto* const paged = &decode_f16_d64_paged;
const auto* const scores = &decode_bf16_d64_scores;

std::vector<DecodeCase> cases() {
  return {
      {.name = "one_key", .kernel = bf16, .heads = {1, 1}, .max_len_k = 1, .lengths = {1}},
      {.name = "lengths_0_1_and_beyond",
       .kernel = bf16,
       .heads = {4, 1},
       .max_len_k = 130,
       .lengths = {0, 1, -5, 9999, 64},
       .split = {.number = 3}},
      {.name = "gqa_3_split",
       .kernel = bf16,
       .heads = {6, 2},
       .max_len_k = 330,
       .lengths = {330, 65, 128},
       .split = {.number = 4}},
      {.name = "mqa_20_two_row_tiles",
       .kernel = bf16,
       .heads = {20, 1},
       .max_len_k = 300,
       .lengths = {300, 17},
       .split = {.number = 2}},
      {.name = "more_splits_than_tiles",
       .kernel = bf16,
       .heads = {8, 1},
       .max_len_k = 130,
       .lengths = {130, 60},
       .split = {.number = 9}},
      {.name = "balanced_one_sequence",
       .kernel = bf16,
       .heads = {4, 2},
       .max_len_k = 600,
       .lengths = {577},
       .split = {.groups = 4}},
      {.name = "balanced_ragged",
       .kernel = bf16,
       .heads = {4, 2},
       .max_len_k = 700,
       .lengths = {3, 700, 0, 65, 129, 1},
       .split = {.groups = 5, .share_cost = 1}},
      {.name = "balanced_more_groups_than_work",
       .kernel = bf16,
       .heads = {2, 1},
       .max_len_k = 130,
       .lengths = {100, 20},
       .split = {.groups = 7}},
      {.name = "balanced_fewer_groups_than_sequences",
       .kernel = bf16,
       .heads = {2, 1},
       .max_len_k = 130,
       .lengths = {100, 20, 130, 128, 0, 64, 65, 1},
       .split = {.groups = 3}},
      {.name = "balanced_shares_that_cost",
       .kernel = bf16,
       .heads = {2, 1},
       .max_len_k = 130,
       .lengths = {100, 20, 130, 128, 0, 64, 65, 1},
       .split = {.groups = 3, .share_cost = 1}},
      {.name = "balanced_long_shares",  // with less under way from their ninth tile on
       .kernel = bf16,
       .heads = {2, 1},
       .max_len_k = 800,
       .lengths = {800, 640, 576, 70},
       .split = {.groups = 1}},
      {.name = "balanced_less_ahead_from_the_second_tile_on",
       .kernel = bf16,
       .heads = {2, 1},
       .max_len_k = 200,
       .lengths = {200, 130, 10, 129, 70},
       .split = {.groups = 2},
       .full_depth = 1},
      {.name = "chain_of_five",
       .kernel = bf16,
       .heads = {8, 2},
       .max_len_k = 200,
       .lengths = {200, 66, 5, 3},
       .len_q = {5, 5, 5, 5},
       .split = {.groups = 3},
       .causal = true},
      {.name = "new_tokens_packed",
       .kernel = bf16,
       .heads = {3, 1},
       .max_len_k = 200,
       .lengths = {200, 66, 64, 30, 7},
       .len_q = {1, 20, 0, 3, 7},
       .packed = true,
       .split = {.groups = 4},
       .causal = true},
      {.name = "prefill_beside_decode",
       .kernel = bf16,
       .heads = {4, 2},
       .max_len_k = 260,
       .lengths = {260, 200},
       .len_q = {130, 1},
       .packed = true,
       .split = {.groups = 6},
       .causal = true,
       .left = 40},
      {.name = "window_both_sides",
       .kernel = bf16,
       .heads = {2, 1},
       .max_len_k = 300,
       .lengths = {300, 90},
       .len_q = {4, 9},
       .split = {.number = 2},
       .left = 70,
       .right = 1},
      {.name = "window_0",
       .kernel = bf16,
       .heads = {2, 2},
       .max_len_k = 200,
       .lengths = {200, 193, 1},
       .split = {.groups = 2},
       .left = 0},
      {.name = "sinks",
       .kernel = bf16,
       .heads = {4, 2},
       .max_len_k = 300,
       .lengths = {300, 0, 20},
       .split = {.groups = 3},
       .sinks = true},
      {.name = "padding_and_rows",
       .kernel = bf16,
       .heads = {2, 1},
       .max_len_k = 200,
       .lengths = {200, 150, 66, 10},
       .split = {.groups = 3},
       .padding = {3, 100, 66, 20},
       .cache_rows = {2, 0, 5, -1}},
      {.name = "tree",
       .kernel = bf16,
       .heads = {4, 2},
       .max_len_k = 200,
       .lengths = {200, 64, 40},
       .len_q = {40, 40, 40},
       .split = {.groups = 3},
       .tree = true},
      {.name = "d40_88",
       .kernel = &decode_f16_d40_88,
       .heads = {3, 1},
       .max_len_k = 130,
       .lengths = {130, 60},
       .split = {.number = 2},
       .left = 90},
      {.name = "pages_of_16",
       .kernel = paged,
       .heads = {4, 1},
       .max_len_k = 200,
       .lengths = {200, 65, 0, 16},
       .len_q = {9, 2, 1, 8},
       .packed = true,
       .split = {.groups = 3},
       .causal = true,
       .page_size = 16},
      {.name = "pages_of_1",
       .kernel = paged,
       .heads = {2, 1},
       .max_len_k = 130,
       .lengths = {130, 7},
       .split = {.number = 2},
       .page_size = 1},
      {.name = "pages_of_5_padded",
       .kernel = paged,
       .heads = {2, 2},
       .max_len_k = 200,
       .lengths = {190, 77, 4},
       .split = {.groups = 2},
       .padding = {7, 0, 4},
       .cache_rows = {1, 2, 0},
       .page_size = 5},
      {.name = "pages_in_lists",
       .kernel = paged,
       .heads = {2, 1},
       .max_len_k = 200,
       .lengths = {200, 48, 0, 33},
       .split = {.groups = 3},
       .page_size = 16,
       .page_lists = true},
      {.name = "scores_64_rows",
       .kernel = scores,
       .heads = {4, 1},
       .max_len_k = 150,
       .lengths = {150, 33},
       .len_q = {16, 20},
       .split = {.groups = 3},
       .causal = true},
      {.name = "scores_split",
       .kernel = scores,
       .heads = {8, 2},
       .max_len_k = 100,
       .lengths = {100, 64, 3},
       .split = {.number = 3},
       .sinks = true},
      {.name = "mask",
       .kernel = &decode_sm75_d64_mask,
       .heads = {2, 1},
       .max_len_k = 100,
       .lengths = {100, 40},
       .len_q = {3, 3},
       .split = {.groups = 2}},
  };
}

INSTANTIATE_TEST_SUITE_P(Emulated, DecodeKernel, ::testing::ValuesIn(cases()),
                         [](const auto& test) { return test.param.name; });

/// Some of a sequence's splits, or its place in the batch, make no difference to its bits.
TEST(DecodeKernelSplits, FixedOnesGiveASequenceTheSameBitsInAnyBatch) {
  for (const DecodeSplit split : {DecodeSplit{.number = 3}, DecodeSplit{.number = 6, .tiles = 2}}) {
    const DecodeCase alone{
        .name = "", .kernel = bf16, .heads = {4, 2}, .max_len_k = 640, .lengths = {500}, .split = split};
    DecodeCase together = alone;
    together.lengths = {500, 640, 0, 70};
    DecodeCall one(alone);
    DecodeCall many(together);
    one.launch();
    many.launch();
    const auto bits = one.o.bits();
    const auto all = many.o.bits();
    EXPECT_TRUE(std::equal(bits.begin(), bits.end(), all.begin()));
  }
}

TEST(DecodeKernelBarriers, NoneCanBeLeftOut) {
  const DecodeCase split{
      .name = "", .kernel = bf16, .heads = {3, 1}, .max_len_k = 330, .lengths = {330, 70}, .split = {.groups = 2}};
  const DecodeCase whole{
      .name = "", .kernel = bf16, .heads = {16, 1}, .max_len_k = 130, .lengths = {130, 70, 5}, .split = {.groups = 1}};
  const DecodeCase pages{.name = "",
                         .kernel = paged,
                         .heads = {3, 1},
                         .max_len_k = 330,
                         .lengths = {330, 70},
                         .split = {.groups = 2},
                         .page_size = 3};
  const DecodeCase rows{.name = "",
                        .kernel = scores,
                        .heads = {4, 1},
                        .max_len_k = 330,
                        .lengths = {330},
                        .len_q = {9},
                        .split = {.groups = 2}};
  std::vector<Launch> launches;
  for (const DecodeCase* c : {&split, &whole, &pages, &rows}) {
    launches.emplace_back([c] {
      DecodeCall call(*c);
      call.launch();
      return call.o.bits();
    });
  }
  for (const char* file : {"attention/decode_sm80.cu", "device/decode_producer.cuh", "device/decode_merge.cuh"}) {
    expect_every_barrier_is_needed(file, launches);
  }
}

}  // namespace
}  // namespace emulator
