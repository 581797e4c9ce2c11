#include "tune/reference.hpp"

#include "tune/half.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

namespace kiln::tune {
namespace {

/// A bf16 tensor of the given values.
std::vector<std::byte> bits_of(std::initializer_list<float> values) {
  std::vector<std::byte> tensor(2 * values.size());
  std::size_t at = 0;
  for (const float value : values) store_element(tensor, at++, value, DType::bf16);
  return tensor;
}

Problem problem_of(int len_q, int len_k, AttentionConfig config = {}) {
  return {.request = {KernelKind::forward, config}, .batch = 1, .len_q = len_q, .len_k = len_k};
}

struct RangeCase {
  const char* name;
  bool causal;
  Alignment alignment;
  int window_left;
  int window_right;
  int query;
  int first;
  int end;
};

class VisibleKeys : public testing::TestWithParam<RangeCase> {};

TEST_P(VisibleKeys, OfThreeQueriesAndFiveKeys) {
  const RangeCase& c = GetParam();
  const bool windowed = c.window_left >= 0 || c.window_right >= 0;
  Problem problem = problem_of(3, 5, {.causal = c.causal, .alignment = c.alignment});
  problem.request.config.window = windowed ? Window::sliding : Window::none;
  problem.window_left = c.window_left;
  problem.window_right = c.window_right;
  const KeyRange keys = visible_keys(problem, {3, 5}, c.query);
  EXPECT_EQ(keys.first, c.first);
  EXPECT_EQ(keys.end, c.end);
}

INSTANTIATE_TEST_SUITE_P(Masks, VisibleKeys,
                         testing::Values(RangeCase{"full", false, Alignment::bottom_right, -1, -1, 0, 0, 5},
                                         RangeCase{"causal_first", true, Alignment::bottom_right, -1, -1, 0, 0, 3},
                                         RangeCase{"causal_last", true, Alignment::bottom_right, -1, -1, 2, 0, 5},
                                         RangeCase{"causal_top_left", true, Alignment::top_left, -1, -1, 0, 0, 1},
                                         RangeCase{"window_both", false, Alignment::bottom_right, 1, 1, 0, 1, 4},
                                         RangeCase{"window_left_excludes_own", false, Alignment::bottom_right, 0, -1, 1,
                                                   3, 5},
                                         RangeCase{"window_right_top_left", false, Alignment::top_left, -1, 2, 1, 0, 4},
                                         RangeCase{"causal_cuts_right", true, Alignment::bottom_right, 1, 2, 1, 2, 4}),
                         [](const auto& test) { return test.param.name; });

TEST(Reference, OneKeyGivesItsValue) {
  const Problem problem = problem_of(1, 1, {.head_dim_qk = 2, .head_dim_v = 2});
  const HostInputs inputs{bits_of({3, -1}), bits_of({2, 5}), bits_of({0.5, -7})};
  const RowValues values = attention_float64(problem, inputs, std::vector<Row>{{0, 0, 0}});
  EXPECT_EQ(values.out, (std::vector<double>{0.5, -7}));
  EXPECT_NEAR(values.lse[0], (3 * 2 - 5) / std::sqrt(2.0), 1e-12);
}

TEST(Reference, WeighsByTheSoftmaxOfTheScaledScores) {
  const Problem problem = problem_of(1, 2, {.head_dim_qk = 1, .head_dim_v = 1});
  const HostInputs inputs{bits_of({1}), bits_of({0, 2}), bits_of({10, 20})};
  const RowValues values = attention_float64(problem, inputs, std::vector<Row>{{0, 0, 0}});
  const double weight = std::exp(2.0) / (1 + std::exp(2.0));
  EXPECT_NEAR(values.out[0], 10 + 10 * weight, 1e-12);
  EXPECT_NEAR(values.lse[0], std::log(1 + std::exp(2.0)), 1e-12);
}

TEST(Reference, RowThatSeesNothingIsZeroAndMinusInfinity) {
  const Problem problem = problem_of(2, 1, {.head_dim_qk = 1, .head_dim_v = 1, .causal = true});
  const HostInputs inputs{bits_of({1, 1}), bits_of({1}), bits_of({4})};
  const RowValues values = attention_float64(problem, inputs, std::vector<Row>{{0, 0, 0}, {0, 1, 0}});
  EXPECT_EQ(values.out, (std::vector<double>{0, 4}));
  EXPECT_EQ(values.lse[0], -INFINITY);
  EXPECT_TRUE(std::isfinite(values.lse[1]));
}

TEST(Reference, HugeScoresDoNotOverflow) {
  const Problem problem = problem_of(1, 2, {.head_dim_qk = 1, .head_dim_v = 1});
  const HostInputs inputs{bits_of({1}), bits_of({30000, -524288}), bits_of({4, 9})};
  const RowValues values = attention_float64(problem, inputs, std::vector<Row>{{0, 0, 0}});
  EXPECT_EQ(values.out[0], 4);
}

TEST(Reference, QueryHeadsShareTheirKvHead) {
  Problem problem = problem_of(1, 1, {.head_dim_qk = 1, .head_dim_v = 1});
  problem.heads_q = 4;
  problem.heads_kv = 2;
  const HostInputs inputs{bits_of({1, 1, 1, 1}), bits_of({1, 1}), bits_of({5, 6})};
  const std::vector<Row> rows{{0, 0, 0}, {0, 0, 1}, {0, 0, 2}, {0, 0, 3}};
  EXPECT_EQ(attention_float64(problem, inputs, rows).out, (std::vector<double>{5, 5, 6, 6}));
}

TEST(Reference, DecodeLooksNoFurtherThanEachLength) {
  const Problem problem{.request = {KernelKind::decode, {.head_dim_qk = 1, .head_dim_v = 1}}, .batch = 2, .len_k = 2};
  const HostInputs inputs{bits_of({0, 0}), bits_of({0, 0, 0, NAN}), bits_of({2, 4, 8, NAN}), {2, 1}};
  const RowValues values = attention_float64(problem, inputs, std::vector<Row>{{0, 0, 0}, {1, 0, 0}});
  EXPECT_EQ(values.out, (std::vector<double>{3, 8}));
}

TEST(Reference, DecodeQueryStandsAtTheLastKey) {
  Problem problem{.request = {KernelKind::decode, {.head_dim_qk = 1, .head_dim_v = 1}}, .batch = 1, .len_k = 4};
  problem.request.config.window = Window::sliding;
  problem.window_left = 1;
  const HostInputs inputs{bits_of({0}), bits_of({0, 0, 0, 0}), bits_of({1, 2, 4, 8}), {3}};
  EXPECT_EQ(attention_float64(problem, inputs, std::vector<Row>{{0, 0, 0}}).out, (std::vector<double>{3}));
  problem.request.config.alignment = Alignment::top_left;  // or at the first: the window doesn't hide what follows
  EXPECT_NEAR(attention_float64(problem, inputs, std::vector<Row>{{0, 0, 0}}).out[0], 7 / 3.0, 1e-12);
}

TEST(Reference, LengthsOfQueriesMoveTheDiagonal) {
  const Problem problem{
      .request = {KernelKind::decode, {.head_dim_qk = 1, .head_dim_v = 1, .causal = true, .ragged = true}},
      .batch = 1,
      .len_q = 3,
      .len_k = 3};
  HostInputs inputs{bits_of({0, 0, 0}), bits_of({0, 0, 0}), bits_of({1, 3, 8})};
  inputs.lengths = {3};
  inputs.lengths_q = {2};
  EXPECT_EQ(attention_float64(problem, inputs, std::vector<Row>{{0, 0, 0}, {0, 1, 0}}).out,
            (std::vector<double>{2, 4}));
}

/// One query, two keys with scores 0 and 1, values 0 and 1: the output is the second key's weight.
class Features : public testing::Test {
 protected:
  double weight() { return attention_float64(problem, inputs, row).out[0]; }
  double lse() { return attention_float64(problem, inputs, row).lse[0]; }
  static double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

  Problem problem = problem_of(1, 2, {.head_dim_qk = 1, .head_dim_v = 1});
  HostInputs inputs{bits_of({1}), bits_of({0, 1}), bits_of({0, 1})};
  AttentionConfig& config = problem.request.config;
  std::vector<Row> row{{0, 0, 0}};
};

TEST_F(Features, SoftcapBendsTheScore) {
  config.softcap = true;
  EXPECT_NEAR(weight(), sigmoid(kSoftcap * std::tanh(1 / kSoftcap)), 1e-7);
}

TEST_F(Features, AlibiFallsWithTheDistance) {
  config.alibi = true;
  inputs.alibi_slopes = {0.25F};
  EXPECT_NEAR(weight(), sigmoid(1.25), 1e-12);  // the query stands at the second key
  config.alignment = Alignment::top_left;
  EXPECT_NEAR(weight(), sigmoid(0.75), 1e-12);
}

TEST_F(Features, ASinkJoinsTheDenominatorAlone) {
  config.sinks = true;
  inputs.sinks = {2};
  const double sum = 1 + std::exp(1.0) + std::exp(2.0);
  EXPECT_NEAR(weight(), std::exp(1.0) / sum, 1e-12);
  EXPECT_NEAR(lse(), std::log(sum), 1e-12);
}

TEST_F(Features, ASinkAloneIsTheLse) {
  config.sinks = true;
  inputs.sinks = {2};
  inputs.lengths = {0};
  EXPECT_EQ(weight(), 0);
  EXPECT_EQ(lse(), 2);
}

TEST_F(Features, AnAdditiveBiasIsEachHeads) {
  config.bias = Bias::additive;
  problem.heads_q = 2;
  inputs.q = bits_of({1, 1});
  inputs.bias = bits_of({0, 0, 0.5, 3});
  row = {{0, 0, 1}};
  EXPECT_NEAR(weight(), sigmoid(1 + 3 - 0.5), 1e-12);
}

TEST_F(Features, AMaskIsEachSequences) {
  config.bias = Bias::mask;
  problem.batch = 2;
  inputs.q = bits_of({1, 1});
  inputs.k = bits_of({0, 1, 0, 1});
  inputs.v = bits_of({0, 1, 0, 1});
  inputs.bias = {std::byte{1}, std::byte{1}, std::byte{1}, std::byte{0}};
  row = {{1, 0, 0}};
  EXPECT_EQ(weight(), 0);
  EXPECT_EQ(lse(), 0);
  inputs.bias[2] = std::byte{0};
  EXPECT_EQ(lse(), -INFINITY);
}

TEST_F(Features, KeysLieInTheirPages) {
  config.paged = true;
  problem.page_size = 2;
  problem.len_k = 3;
  inputs.pages = {1, 0};
  inputs.lengths = {3};
  inputs.k = bits_of({0, NAN, 0, 0});
  inputs.v = bits_of({8, NAN, 1, 3});
  EXPECT_EQ(weight(), 4);
}

TEST_F(Features, AFixedWindowIsTheConfigs) {
  config.window = Window::fixed;
  config.window_left = 0;
  EXPECT_EQ(weight(), 1);
}

TEST_F(Features, Float32IsRead) {
  config.dtype = DType::f32;
  const auto tensor = [](std::initializer_list<float> values) {
    std::vector<std::byte> out(4 * values.size());
    std::memcpy(out.data(), values.begin(), out.size());
    return out;
  };
  inputs = {tensor({1}), tensor({0, 1.0001F}), tensor({0, 1})};
  EXPECT_NEAR(weight(), sigmoid(1.0001), 1e-8);
}

TEST(Reference, Naive16IsNearButNotTheSame) {
  const Problem problem{.request = {}, .batch = 1, .len_q = 7, .len_k = 100, .heads_q = 2, .heads_kv = 1};
  const HostInputs inputs = random_inputs(problem, 3);
  const std::vector<Row> rows{{0, 0, 0}, {0, 6, 1}};
  const RowValues exact = attention_float64(problem, inputs, rows);
  const RowValues naive = attention_naive(problem, inputs, rows);
  double largest = 0;
  for (std::size_t i = 0; i < exact.out.size(); ++i) largest = std::max(largest, std::abs(exact.out[i] - naive.out[i]));
  EXPECT_GT(largest, 1e-5);
  EXPECT_LT(largest, 0.02);
}

}  // namespace
}  // namespace kiln::tune
