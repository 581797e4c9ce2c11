// What the reference makes of each feature, on numbers worked out by hand.
#include "support/compare.hpp"
#include "support/element.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

namespace kiln::test {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

/// Float32 heads of one element: a score is scale · q · k.
class Features : public ::testing::Test {
 protected:
  Features() {
    problem_.config = {.dtype = DType::f32, .head_dim_qk = 1, .head_dim_v = 1};
    problem_.len_k = 2;
    set_views();
  }

  void set_views() {
    problem_.q = {q_.data(), Strides::bshd(problem_.len_q, problem_.heads_q, 1)};
    problem_.k = {k_.data(), Strides::bshd(problem_.len_k, problem_.heads_kv, 1)};
    problem_.v = {v_.data(), Strides::bshd(problem_.len_k, problem_.heads_kv, 1)};
  }

  /// Scores are ln 3 and 0 for a scale of 1; what the softmax makes of them are weights 3/4 and 1/4.
  std::vector<float> q_ = {1, 1, 1, 1};
  std::vector<float> k_ = {std::log(3.0F), 0, 0, 0};
  std::vector<float> v_ = {4, 8, 16, 32};
  Problem problem_;
};

TEST_F(Features, Float32TensorsAreRead) {
  const Result result = reference(problem_);
  EXPECT_NEAR(result.out[0], 5, 1e-6);
  EXPECT_NEAR(result.lse[0], std::log(4.0), 1e-6);
}

TEST_F(Features, LseToBase2) {
  problem_.lse_base2 = true;
  EXPECT_NEAR(reference(problem_).lse[0], 2, 1e-6);
}

TEST_F(Features, SoftcapBendsTheScaledScore) {
  problem_.config.softcap = true;
  problem_.softcap = 2;
  problem_.scale = 3;
  k_[0] = 1;
  const double score = 2 * std::tanh(3.0 / 2);
  const Result result = reference(problem_);
  EXPECT_NEAR(result.lse[0], std::log(std::exp(score) + 1), 1e-6);
  EXPECT_NEAR(result.out[0], (4 * std::exp(score) + 8) / (std::exp(score) + 1), 1e-6);
}

TEST_F(Features, SoftcapComesBeforeTheMask) {
  problem_.config.softcap = true;
  problem_.config.causal = true;
  problem_.config.alignment = Alignment::top_left;  // key 1 is hidden
  problem_.softcap = 0.5F;
  const Result result = reference(problem_);
  EXPECT_EQ(result.out[0], 4);
  EXPECT_NEAR(result.lse[0], 0.5 * std::tanh(std::log(3.0) / 0.5), 1e-6);
}

TEST_F(Features, AlibiCountsFromWhereTheQueryStands) {
  problem_.config.alibi = true;
  problem_.alibi_slopes = {0.5F};
  EXPECT_NEAR(reference(problem_).lse[0], std::log(3 * std::exp(-0.5) + 1), 1e-6);  // at key 1
  problem_.config.alignment = Alignment::top_left;
  EXPECT_NEAR(reference(problem_).lse[0], std::log(3 + std::exp(-0.5)), 1e-6);  // at key 0
}

TEST_F(Features, AlibiMayDifferFromSequenceToSequence) {
  problem_.config.alibi = true;
  problem_.batch = 2;
  problem_.alibi_slopes = {0, 1};
  const Result result = reference(problem_);
  EXPECT_NEAR(result.lse[0], std::log(4.0), 1e-6);
  EXPECT_NEAR(result.lse[1], std::log(std::exp(-1) + 1), 1e-6);  // k 2 and 3 score 0
}

TEST_F(Features, BiasIsAddedUnscaledAndAfterTheCap) {
  const std::array bias = {std::log(2.0F), 0.0F};
  problem_.config.bias = Bias::additive;
  problem_.bias = {bias.data(), {}};
  EXPECT_NEAR(reference(problem_).lse[0], std::log(7.0), 1e-6);
  problem_.scale = 0;
  EXPECT_NEAR(reference(problem_).lse[0], std::log(3.0), 1e-6);
  problem_.config.softcap = true;
  problem_.softcap = 0.01F;
  EXPECT_NEAR(reference(problem_).lse[0], std::log(3.0), 1e-6);
}

TEST_F(Features, ABiasOfMinusInfinityHides) {
  std::array bias = {-std::numeric_limits<float>::infinity(), 0.0F};
  problem_.config.bias = Bias::additive;
  problem_.bias = {bias.data(), {}};
  EXPECT_EQ(reference(problem_).out[0], 8);
  bias[1] = bias[0];
  for (const Result& result : {reference(problem_), naive(problem_)}) {
    EXPECT_EQ(result.out[0], 0);
    EXPECT_EQ(result.lse[0], -kInfinity);
  }
}

TEST_F(Features, AMaskShowsWhatIsNotZero) {
  std::array<std::uint8_t, 2> mask = {0, 0x80};
  problem_.config.bias = Bias::mask;
  problem_.bias = {mask.data(), {}};
  EXPECT_EQ(reference(problem_).out[0], 8);
  EXPECT_EQ(reference(problem_).lse[0], 0);
  mask[1] = 0;
  EXPECT_EQ(reference(problem_).out[0], 0);
  EXPECT_EQ(reference(problem_).lse[0], -kInfinity);
}

TEST_F(Features, BiasStridesReachSequenceHeadAndRow) {
  problem_.config.bias = Bias::additive;
  problem_.batch = 2;
  problem_.len_q = 2;
  problem_.len_k = 1;
  problem_.heads_q = 2;
  std::vector<float> bias(1000);
  problem_.bias = {bias.data(), {.batch = 500, .row = 30, .head = 100}};
  bias[500 + 30 + 100] = 7;
  q_.assign(8, 0);
  set_views();
  const Result result = reference(problem_);
  for (int b = 0; b < 2; ++b)
    for (int i = 0; i < 2; ++i)
      for (int head = 0; head < 2; ++head)
        EXPECT_EQ(result.lse[result.lse_at(problem_, b, i, head)], b == 1 && i == 1 && head == 1 ? 7 : 0);
}

TEST_F(Features, ASinkJoinsTheDenominatorOnce) {
  problem_.config.sinks = true;
  problem_.sinks = {std::log(4.0F)};
  const Result result = reference(problem_);  // 3/8 · 4 + 1/8 · 8
  EXPECT_NEAR(result.out[0], 2.5, 1e-6);
  EXPECT_NEAR(result.lse[0], std::log(8.0), 1e-6);
}

TEST_F(Features, ARowWithoutKeysHasItsSinkAsLse) {
  problem_.config.sinks = true;
  problem_.sinks = {-3.5F};
  problem_.lengths = {0};
  EXPECT_EQ(reference(problem_).out[0], 0);
  EXPECT_EQ(reference(problem_).lse[0], -3.5);
  problem_.sinks = {-std::numeric_limits<float>::infinity()};
  EXPECT_EQ(reference(problem_).out[0], 0);
  EXPECT_EQ(reference(problem_).lse[0], -kInfinity);
}

TEST_F(Features, AFixedWindowIsTheConfigs) {
  problem_.config.window = Window::fixed;
  problem_.config.window_left = 0;
  problem_.config.window_right = 0;
  problem_.window_left = 100;  // not this
  EXPECT_EQ(reference(problem_).out[0], 8);
}

TEST_F(Features, RowsBeyondTheQueriesOfASequenceAreNotWritten) {
  problem_.len_q = 3;
  problem_.len_k = 1;
  problem_.config.causal = true;
  problem_.lengths_q = {2};
  const Result result = reference(problem_);
  EXPECT_EQ(result.out[0], 0);  // δ = 1 − 2, not 1 − 3
  EXPECT_EQ(result.out[1], 4);
  EXPECT_TRUE(std::isnan(result.out[2]));
  EXPECT_TRUE(std::isnan(result.lse[2]));
}

TEST_F(Features, PackedSequencesFollowEachOther) {
  q_ = {kNan, 1, 1, 1, kNan};
  k_ = {0, 0, 0};
  v_ = {1, 2, 4};
  problem_.batch = 3;
  problem_.len_q = 3;
  problem_.len_k = 3;
  problem_.total_q = 5;
  problem_.cu_seqlens_q = {1, 3, 3, 4};  // 2, 0 and 1 queries; a row before and one behind belong to nobody
  problem_.cu_seqlens_k = {0, 1, 1, 3};
  set_views();
  const Result result = reference(problem_);
  ASSERT_EQ(result.out.size(), 5U);
  EXPECT_TRUE(std::isnan(result.out[0]));
  EXPECT_EQ(result.out[1], 1);
  EXPECT_EQ(result.out[2], 1);
  EXPECT_EQ(result.out[3], 3);
  EXPECT_TRUE(std::isnan(result.out[4]));
  EXPECT_NEAR(result.lse[3], std::log(2.0), 1e-12);
  EXPECT_EQ(result.out_at(problem_, 2, 0, 0), 3U);
  EXPECT_EQ(result.lse_at(problem_, 2, 0, 0), 3U);
}

TEST_F(Features, LengthsAreCutByAllThatLimitsThem) {
  problem_.batch = 4;
  problem_.len_k = 5;
  problem_.cu_seqlens_k = {0, 9, 12, 16, 20};
  problem_.lengths = {7, 2, -1, 99};
  EXPECT_EQ(problem_.keys_of(0), 5);
  EXPECT_EQ(problem_.keys_of(1), 2);
  EXPECT_EQ(problem_.keys_of(2), 0);
  EXPECT_EQ(problem_.keys_of(3), 4);
}

TEST_F(Features, KeysLieWhereThePageTableSays) {
  k_ = {0, 0, 0, 0, 0, 0};
  v_ = {1, 2, 4, 8, 16, 32};  // pages of two
  problem_.len_k = 3;
  problem_.batch = 2;
  problem_.page_size = 2;
  problem_.page_row_stride = 3;
  problem_.page_table = {2, 0, -1, 0, 0, -1};
  problem_.k.strides = problem_.v.strides = {.batch = 2, .row = 1, .head = 0};
  problem_.k.data = k_.data();
  problem_.v.data = v_.data();
  const Result result = reference(problem_);
  EXPECT_NEAR(result.out[0], (16 + 32 + 1) / 3.0, 1e-12);
  EXPECT_NEAR(result.out[1], (1 + 2 + 1) / 3.0, 1e-12);
}

TEST_F(Features, ListsOfPagesEndWhereTheirLastPageSays) {
  problem_.batch = 5;
  problem_.len_k = 9;
  problem_.page_size = 4;
  problem_.page_indptr = {1, 3, 3, 4, 7, 9};
  problem_.last_page_len = {3, 4, 9, 1, 0};
  const std::array keys = {7, 0, 4, 9, 4};
  for (int b = 0; b < 5; ++b) EXPECT_EQ(problem_.keys_of(b), keys[static_cast<std::size_t>(b)]) << b;
  EXPECT_EQ(problem_.page_entry(3, 8), 6U);
}

TEST_F(Features, ACacheRowIsChosenAndItsPaddingLeftOut) {
  k_ = {0, 0, 0, 0};
  problem_.batch = 4;
  problem_.len_k = 2;
  problem_.cache_rows = {1, 0, -1, 1};
  problem_.left_padding = {0, 1, 0, 2};
  set_views();
  const Result result = reference(problem_);
  EXPECT_EQ(result.out, (std::vector<double>{24, 8, 0, 0}));
  EXPECT_EQ(result.lse[1], 0);
  EXPECT_EQ(result.lse[2], -kInfinity);
  EXPECT_EQ(result.lse[3], -kInfinity);
  problem_.page_size = 1;
  problem_.page_row_stride = 2;
  problem_.page_table = {3, 2, 1, 0};
  problem_.k.strides.batch = problem_.v.strides.batch = 1;
  EXPECT_EQ(reference(problem_).out, (std::vector<double>{6, 16, 0, 0}));
}

TEST_F(Features, PositionsCountFromBehindThePadding) {
  problem_.config.alibi = true;
  problem_.config.alignment = Alignment::top_left;
  problem_.alibi_slopes = {0.5F};
  problem_.left_padding = {1};
  EXPECT_EQ(reference(problem_).lse[0], 0);  // the second key stands where the query does
}

TEST_F(Features, ATreeHidesNewTokensOnly) {
  k_ = {0, 0, 0, 0};
  problem_.len_q = 3;
  problem_.len_k = 4;
  problem_.tree = {0b001, 0b011, 0b100, 0b111, 0, 0b010};
  problem_.tree_row_stride = 2;
  set_views();
  EXPECT_EQ(reference(problem_).out, (std::vector<double>{6, 18, 4}));  // the last one sees the old key alone
}

TEST_F(Features, OneTf32PassIsJudgedByWhatTf32Holds) {
  EXPECT_EQ(to_tf32(1 + 0x1p-10F), 1 + 0x1p-10F);
  EXPECT_EQ(to_tf32(1 + 0x1p-11F), 1 + 0x1p-10F);
  EXPECT_EQ(to_tf32(-1 - 0x1p-12F), -1);
  EXPECT_EQ(to_tf32(std::numeric_limits<float>::infinity()), kInfinity);
  problem_.len_k = 1;
  v_[0] = 1 + 0x1p-11F;
  const double three_passes = allowed_error(problem_, Judge(problem_));
  problem_.config.allow_tf32 = true;
  EXPECT_NEAR(three_passes, 1e-5, 1e-6);
  EXPECT_NEAR(allowed_error(problem_, Judge(problem_)), 2 * 0x1p-11 + 1e-5, 1e-6);
}

TEST_F(Features, ATf32LseMayBeOffByTwiceTheNaiveError) {
  k_ = {16 + 0x1p-7F, 0};  // TF32 has steps of 2⁻⁶ there
  problem_.config.allow_tf32 = true;
  const Judge judge(problem_);
  EXPECT_NEAR(judge.lse_error, 0x1p-7, 1e-4);
  const auto off_by = [&](double error) { return std::vector{static_cast<float>(judge.exact.lse[0] + error)}; };
  EXPECT_TRUE(lse_matches(problem_, off_by(1.9 * 0x1p-7), judge, ""));
  EXPECT_FALSE(lse_matches(problem_, off_by(2.1 * 0x1p-7 + 1e-3), judge, ""));
  problem_.config.allow_tf32 = false;
  EXPECT_FALSE(lse_matches(problem_, off_by(1.9 * 0x1p-7), Judge(problem_), ""));
}

TEST(OutputType, Float32OutputIsReadAndRoundedAsSuch) {
  const std::array<std::uint16_t, 2> data = {to_bf16(1), to_bf16(0.3F)};
  Problem problem;
  problem.config = {.dtype = DType::bf16, .head_dim_qk = 1, .head_dim_v = 1, .output_f32 = true};
  problem.q = {data.data(), {}};
  problem.k = {data.data(), {}};
  problem.v = {data.data() + 1, {}};
  const Judge judge(problem);
  const float exact = from_bf16(data[1]);
  for (const float error : {0.0F, 9e-6F, 2e-5F}) {  // a bf16 step there is 10⁻³
    const float got = exact + error;
    EXPECT_EQ(output_matches(problem, {&got, {}}, judge, ""), error < 1e-5F) << error;
  }
}

TEST(Untouched, RowsThatTheCallMustNotWriteMustStillHoldNan) {
  std::array<float, 2> data = {1, 1};
  Problem problem;
  problem.config = {.dtype = DType::f32, .head_dim_qk = 1, .head_dim_v = 1};
  problem.len_q = 2;
  problem.lengths_q = {1};
  problem.q = problem.k = problem.v = {data.data(), {.batch = 0, .row = 1, .head = 0}};
  const Judge judge(problem);
  std::array<float, 2> out = {1, kNan};
  const View view{out.data(), {.batch = 0, .row = 1, .head = 0}};
  EXPECT_TRUE(output_matches(problem, view, judge, ""));
  EXPECT_TRUE(lse_matches(problem, std::array{1.0F, kNan}, judge, ""));
  out[1] = 0;
  EXPECT_FALSE(output_matches(problem, view, judge, ""));
  EXPECT_FALSE(lse_matches(problem, std::array{1.0F, 0.0F}, judge, ""));
}

}  // namespace
}  // namespace kiln::test
