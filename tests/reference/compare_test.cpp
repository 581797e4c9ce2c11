#include "support/compare.hpp"

#include "support/half.hpp"
#include "support/random.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace kiln::test {
namespace {

/// A small problem, its judge, and the best output that its type can hold.
class Compare : public ::testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    problem_.config = {.dtype = GetParam(), .head_dim_qk = 64, .head_dim_v = 64, .causal = true};
    problem_.len_q = 40;
    problem_.len_k = 33;  // the first 7 rows see nothing
    problem_.scale = 0.125F;
    for (std::size_t i = 0; i < data_.size(); ++i) data_[i] = to_16(GetParam(), normal(7, i));
    problem_.q = {data_.data(), Strides::bshd(40, 1, 64)};
    problem_.k = {data_.data() + 64, Strides::bshd(33, 1, 64)};
    problem_.v = {data_.data() + 128, Strides::bshd(33, 1, 64)};
    judge_.emplace(problem_);
    for (const double value : judge_->exact.out) out_.push_back(to_16(GetParam(), static_cast<float>(value)));
    for (const double value : judge_->exact.lse) lse_.push_back(static_cast<float>(value));
  }

  ::testing::AssertionResult check_output() const {
    return output_matches(problem_, {out_.data(), Strides::bshd(40, 1, 64)}, *judge_, "the repro");
  }
  ::testing::AssertionResult check_lse() const { return lse_matches(problem_, lse_, *judge_, "the repro"); }

  std::vector<std::uint16_t> data_ = std::vector<std::uint16_t>(std::size_t{48} * 64);
  Problem problem_;
  std::optional<Judge> judge_;
  std::vector<std::uint16_t> out_;
  std::vector<float> lse_;
};

TEST_P(Compare, TheRoundedReferencePasses) {
  EXPECT_TRUE(check_output());
  EXPECT_TRUE(check_lse());
}

TEST_P(Compare, TheNaiveComputationPasses) {
  std::ranges::transform(judge_->naive.out, out_.begin(),
                         [](double x) { return to_16(GetParam(), static_cast<float>(x)); });
  EXPECT_TRUE(check_output());
}

TEST_P(Compare, OneElementBeyondTheBoundFailsAndIsNamed) {
  const double allowed = allowed_error(problem_, *judge_);
  EXPECT_LT(allowed, GetParam() == DType::f16 ? 0.01 : 0.08) << "the bound is too wide to find anything";
  const std::size_t at = std::size_t{9} * 64 + 5;
  out_[at] = to_16(GetParam(), static_cast<float>(judge_->exact.out[at] + 1.5 * allowed));
  const auto result = check_output();
  EXPECT_FALSE(result);
  EXPECT_NE(std::string(result.message()).find("out[0][9][0][5]"), std::string::npos) << result.message();
  EXPECT_NE(std::string(result.message()).find("repro: the repro"), std::string::npos) << result.message();
}

TEST_P(Compare, NanAndInfinityFailWherever) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    const std::uint16_t kept = std::exchange(out_.back(), to_16(GetParam(), bad));
    EXPECT_FALSE(check_output()) << bad;
    out_.back() = kept;
  }
}

TEST_P(Compare, AnEmptyRowMustBeZeroWithLseMinusInfinity) {
  EXPECT_EQ(judge_->exact.lse[6], -std::numeric_limits<double>::infinity());
  out_[std::size_t{6} * 64] = to_16(GetParam(), 0.5F);
  EXPECT_FALSE(check_output());
  lse_[6] = -1e30F;
  EXPECT_FALSE(check_lse());
}

TEST_P(Compare, LseFailsBeyondItsBound) {
  lse_[20] += 5e-4F;
  EXPECT_TRUE(check_lse());
  lse_[20] += 2e-3F;
  EXPECT_FALSE(check_lse());
  lse_.pop_back();
  EXPECT_FALSE(check_lse());
}

TEST_P(Compare, DataOnWhichTheNaiveComputationOverflowsIsRefused) {
  judge_->naive.out[std::size_t{10} * 64] = std::nan("");
  EXPECT_FALSE(check_output());
}

INSTANTIATE_TEST_SUITE_P(Types, Compare, ::testing::Values(DType::f16, DType::bf16),
                         [](const auto& test) { return test.param == DType::f16 ? "f16" : "bf16"; });

}  // namespace
}  // namespace kiln::test
