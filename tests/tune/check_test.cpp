#include "tune/check.hpp"

#include "tune/half.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace kiln::tune {
namespace {

/// A small problem with the outputs that rounding the exact result gives.
class Check : public testing::Test {
 protected:
  Check() {
    const auto rows = rows_to_check(problem, problem.rows());
    expected = expect(problem, inputs, rows);
    outputs.out.resize(problem.out_elements());
    outputs.lse.resize(problem.rows());
    for (std::size_t r = 0; r < rows.size(); ++r) {
      const auto [batch, query, head] = rows[r];
      const int out_row = (batch * problem.len_q + query) * problem.heads_q + head;
      const int lse_at = (batch * problem.heads_q + head) * problem.len_q + query;
      outputs.lse[static_cast<std::size_t>(lse_at)] = static_cast<float>(expected.exact.lse[r]);
      for (std::size_t i = 0; i < kDim; ++i) {
        outputs.out[static_cast<std::size_t>(out_row) * kDim + i] =
            rounded(static_cast<float>(expected.exact.out[r * kDim + i]), DType::bf16);
      }
    }
  }

  static constexpr std::size_t kDim = 64;
  // Three queries but two keys: the first query sees nothing.
  Problem problem{.request = {KernelKind::forward, {.head_dim_qk = 64, .head_dim_v = 64, .causal = true}},
                  .batch = 2,
                  .len_q = 3,
                  .len_k = 2,
                  .heads_q = 4,
                  .heads_kv = 2};
  HostInputs inputs = random_inputs(problem, 7);
  Expectation expected;
  HostOutputs outputs;
};

TEST_F(Check, TheRoundedTruthPasses) {
  const CheckResult result = check(expected, outputs);
  EXPECT_TRUE(result.passed) << result.first_wrong;
  EXPECT_EQ(result.rows, 24U);
  EXPECT_GT(result.limit, 1e-5);
  EXPECT_LE(result.error, result.limit);
}

TEST_F(Check, OneWrongElementIsNamed) {
  const std::size_t at = ((1 * 3 + 2) * 4 + 3) * kDim + 5;  // batch 1, query 2, head 3, dim 5
  outputs.out[at] = rounded(outputs.out[at] + 0.25F, DType::bf16);
  const CheckResult result = check(expected, outputs);
  EXPECT_FALSE(result.passed);
  EXPECT_NEAR(result.error, 0.25, 0.02);
  EXPECT_THAT(result.first_wrong, testing::StartsWith("batch 1, query 2, head 3, dim 5: got "));
}

TEST_F(Check, NanIsWrong) {
  outputs.out[17] = std::numeric_limits<float>::quiet_NaN();
  const CheckResult result = check(expected, outputs);
  EXPECT_FALSE(result.passed);
  EXPECT_EQ(result.error, INFINITY);
}

TEST_F(Check, LseMayBeOffByAThousandth) {
  const std::size_t at = 2 * 3 + 2;  // batch 0, head 2, query 2
  outputs.lse[at] += 0.0005F;
  EXPECT_TRUE(check(expected, outputs).passed);
  outputs.lse[at] += 0.001F;
  const CheckResult result = check(expected, outputs);
  EXPECT_FALSE(result.passed);
  EXPECT_THAT(result.first_wrong, testing::StartsWith("batch 0, query 2, head 2: LSE "));
}

TEST_F(Check, EmptyRowMustHaveMinusInfinity) {
  outputs.lse[0] = -1e30F;
  EXPECT_FALSE(check(expected, outputs).passed);
}

TEST(Expectation, LeavesOutQueriesThatASequenceDoesNotHave) {
  const Problem problem{.request = {KernelKind::decode, {.ragged = true}}, .batch = 2, .len_q = 3, .len_k = 4};
  HostInputs inputs = random_inputs(problem, 1);
  inputs.lengths_q = {3, 1};
  const auto expected = expect(problem, inputs, rows_to_check(problem, 100));
  ASSERT_EQ(expected.rows.size(), 4U);
  EXPECT_EQ(expected.rows.back().batch, 1);
  EXPECT_EQ(expected.rows.back().query, 0);
}

TEST(Expectation, Float32IsHeldToFloat32) {
  Problem problem{.request = {}, .batch = 1, .len_q = 3, .len_k = 40};
  const double limit16 = expect(problem, random_inputs(problem, 1), rows_to_check(problem, 3)).limit;
  problem.request.config.dtype = DType::f32;
  const double limit32 = expect(problem, random_inputs(problem, 1), rows_to_check(problem, 3)).limit;
  EXPECT_GT(limit16, 1e-3);
  EXPECT_LT(limit32, 1e-4);
}

TEST(RowsToCheck, AllOrSpreadFromFirstToLast) {
  const Problem problem{.request = {}, .batch = 3, .len_q = 50, .len_k = 1, .heads_q = 2, .heads_kv = 1};
  EXPECT_EQ(rows_to_check(problem, 1000).size(), 300U);
  const auto some = rows_to_check(problem, 10);
  ASSERT_EQ(some.size(), 10U);
  EXPECT_EQ(some.front().batch + some.front().query + some.front().head, 0);
  EXPECT_EQ(some.back().batch, 2);
  EXPECT_EQ(some.back().query, 49);
  EXPECT_EQ(some.back().head, 1);
}

}  // namespace
}  // namespace kiln::tune
