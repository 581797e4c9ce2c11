// Where what changes the scores of decode usually breaks, and what is asked of its results.
#include "gpu/decode_features.hpp"

#include <cmath>
#include <utility>
#include <vector>

namespace kiln::test {
namespace {

using namespace decode_features;

TEST_P(DecodeFeatures, AHugeNegativeScoreInEveryTileGivesTheMeanExactly) {
  // All keys score −524288, so each weighs the same: values of 1 must come out as 1, however they are split.
  for (const auto& [num, size] : kSplits) {
    DecodeCall call({.config = of(kPlain),
                     .len_q = 5,
                     .max_len_k = 700,
                     .lengths = {700, 1},
                     .num_splits = num,
                     .split_size = size,
                     .scale = 1.0F});
    call.q.fill(1024.0F / 128);
    call.k.fill(-512.0F);
    call.v.fill(1);
    call.upload();
    call.launch(stream());
    synchronize();
    call.out.download();
    for (int b = 0; b < 2; ++b)
      for (int i = 0; i < 5; ++i)
        for (int head = 0; head < 8; ++head)
          for (int c = 0; c < 128; ++c) ASSERT_EQ(call.out.get(b, i, head, c), 1) << num << " " << size;
  }
}

TEST_P(DecodeFeatures, NegativeAndZeroScales) {
  for (const float scale : {-0.1F, 0.0F, 2.0F, 1e-6F})
    run_split({.config = of(kCausal), .len_q = 4, .max_len_k = 300, .lengths = {300, 70}, .scale = scale});
}

TEST_P(DecodeFeatures, SinksOfAnySize) {
  for (const auto& [num, size] : kSplits)
    for (const float scale : {0.1F, 2.0F}) {
      DecodeCall call({.config = of(kSinks),
                       .max_len_k = 400,
                       .heads_q = 6,
                       .heads_kv = 6,
                       .lengths = {400, 0, 3},
                       .num_splits = num,
                       .split_size = size,
                       .scale = scale});
      call.sinks = {-kInf, -1e30F, -30000, 0, 30000, 1e30F};
      check(call);
      const std::vector<float> lse = call.lse.download();
      EXPECT_EQ(lse[6], -kInf) << scale;
      for (std::size_t head = 1; head < 6; ++head)
        EXPECT_NEAR(lse[6 + head], call.sinks[head], std::abs(call.sinks[head]) * 1e-6) << scale;
      for (int c = 0; c < 128; ++c) EXPECT_EQ(call.out.get(0, 0, 5, c), 0) << "all but nothing is left for the keys";
    }
}

TEST_P(DecodeFeatures, SinksOfGroupedHeadsAndChangedScores) {
  for (const bool softcap : {false, true})
    for (const float scale : {-0.1F, 0.0F, 0.1F})
      run_split({.config = of(softcap ? kSoftcapSinks : kSinks),
                 .len_q = 3,
                 .max_len_k = 300,
                 .heads_q = 10,
                 .heads_kv = 2,
                 .lengths = {300, 33, 0},
                 .scale = scale});
}

TEST_P(DecodeFeatures, SoftcapOfHugeScores) {
  for (const float magnitude : {64.0F, 1024.0F}) {
    DecodeCall call({.config = of(kSoftcap),
                     .len_q = 2,
                     .max_len_k = 200,
                     .heads_q = 2,
                     .lengths = {200},
                     .scale = 1.0F,
                     .softcap = 2});
    put_huge_scores(call, magnitude, 2, 200);
    check(call);
  }
}

TEST_P(DecodeFeatures, SoftcapNeverShowsWhatIsHidden) {
  run_split({.config = of(kCausalSoftcap), .len_q = 20, .max_len_k = 90, .lengths = {90, 20, 7}, .softcap = 0.5F});
  run_split({.config = of(kSoftcap),
             .len_q = 20,
             .max_len_k = 90,
             .lengths = {90, 20, 7},
             .softcap = 0.5F,
             .tree = Tree::branches});
}

TEST_P(DecodeFeatures, AlibiBeyondEitherEnd) {
  for (const AttentionConfig& config : kAlibis)
    for (const int len_q : {1, 20}) {
      DecodeCall call({.config = of(config),
                       .len_q = len_q,
                       .max_len_k = 300,
                       .heads_q = 2,
                       .lengths = {300, 11},
                       .num_splits = 3,
                       .slopes_per_sequence = true});
      call.alibi_slopes = {0, 0.7F, 0.01F, -0.02F};
      check(call);
    }
}

TEST_P(DecodeFeatures, AlibiCountsFromBehindThePadding) {
  run_split({.config = of(kAlibi), .len_q = 3, .max_len_k = 300, .lengths = {300, 200}, .left_padding = {37, 130}});
}

TEST_P(DecodeFeatures, AlibiSoSteepThatOneKeyRemains) {
  DecodeCall call(
      {.config = of(kAlibi), .len_q = 4, .max_len_k = 200, .heads_q = 2, .lengths = {200}, .num_splits = 3});
  call.alibi_slopes = {1e4F, 1e6F};
  check(call);
}

TEST_P(DecodeFeatures, RowsThatABiasHidesAreZeroWithLseMinusInfinity) {
  for (const auto& [num, size] : kSplits)
    for (const bool mask : {false, true}) {
      DecodeCall call({.config = of(mask ? kMask : kAdditive),
                       .len_q = 7,
                       .max_len_k = 350,
                       .lengths = {350, 90},
                       .num_splits = num,
                       .split_size = size});
      for (int b = 0; b < 2; ++b)
        for (int head = 0; head < 8; ++head)
          for (int j = 0; j < 350; ++j) call.bias.put(b, head, 3, j, mask ? 0 : -kInf);
      check(call);
      for (int b = 0; b < 2; ++b) expect_empty_row(call, b, 3, -kInf);
    }
}

TEST_P(DecodeFeatures, AMaskMayShowOneKeyInTheLastTile) {
  DecodeCall call({.config = of(kMask), .len_q = 3, .max_len_k = 700, .lengths = {700}, .num_splits = 6});
  for (int head = 0; head < 8; ++head)
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j < 700; ++j) call.bias.put(0, head, i, j, j == 699 ? 128 : 0);
  check(call);
}

TEST_P(DecodeFeatures, LseToBase2IsTheNaturalOneInOtherUnits) {
  DecodeCase test{.config = of(kSinks), .len_q = 3, .max_len_k = 300, .lengths = {300, 0, 17}, .num_splits = 4};
  const std::vector<float> natural = run(test).lse.download();
  test.lse_base2 = true;
  EXPECT_NE(natural, run(test).lse.download());
}

TEST_P(DecodeFeatures, Float32OutputHasMoreDigits) {
  const DecodeCall call =
      run({.config = of(kFloat32Output), .len_q = 5, .max_len_k = 300, .lengths = {300}, .num_splits = 3});
  expect_more_digits(call, 5);
}

}  // namespace
}  // namespace kiln::test
