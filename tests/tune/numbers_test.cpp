#include "support/expect_error.hpp"
#include "tune/choose.hpp"
#include "tune/half.hpp"
#include "tune/host_data.hpp"
#include "tune/parallel.hpp"
#include "tune/statistics.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <stdexcept>

namespace kiln::tune {
namespace {

TEST(Statistics, MedianAndQuartiles) {
  const std::vector<double> samples{5, 1, 4, 2, 3};
  const Summary summary = summarize(samples);
  EXPECT_DOUBLE_EQ(summary.median, 3);
  EXPECT_DOUBLE_EQ(summary.low, 2);
  EXPECT_DOUBLE_EQ(summary.high, 4);
  EXPECT_DOUBLE_EQ(summary.noise, 2 / std::sqrt(5.0));
}

TEST(Statistics, OutliersDoNotMoveTheMedian) {
  EXPECT_DOUBLE_EQ(summarize(std::vector<double>{10, 10, 10, 1000}).median, 10);
  EXPECT_DOUBLE_EQ(summarize(std::vector<double>{}).median, 0);
}

Times steady(double microseconds, double noise = 0) { return {{microseconds, microseconds, microseconds, noise}}; }

TEST(Choose, IncumbentStaysUnlessBeatenByMoreThanTheNoise) {
  EXPECT_EQ(choose(std::vector{steady(100), steady(99.5)}, 0), 0U);   // less than 1 %
  EXPECT_EQ(choose(std::vector{steady(100), steady(98)}, 0), 1U);     // more
  EXPECT_EQ(choose(std::vector{steady(100, 3), steady(98)}, 0), 0U);  // more than 1 %, less than the noise
  EXPECT_EQ(choose(std::vector{steady(100, 3), steady(90, 3)}, 0), 1U);
  EXPECT_EQ(choose(std::vector{steady(97.5), steady(98)}, 1), 1U);
}

TEST(Choose, WithoutTheIncumbentTheFastestWins) {
  EXPECT_EQ(choose(std::vector{Times{}, steady(9), steady(8)}, 0), 2U);
  EXPECT_EQ(choose(std::vector{Times{}, Times{}}, 0), std::nullopt);
}

TEST(Choose, EveryProblemCountsAlike) {
  // 20 % faster on the short one, 10 % slower on the long one: a gain overall.
  const Times before{{10, 10, 10, 0}, {1000, 1000, 1000, 0}};
  const Times after{{8, 8, 8, 0}, {1100, 1100, 1100, 0}};
  EXPECT_EQ(choose(std::vector{before, after}, 0), 1U);
  EXPECT_DOUBLE_EQ(score(before), 100);
}

TEST(HostData, SameSeedSameBits) {
  std::vector<std::uint16_t> a(3'000'001);
  std::vector<std::uint16_t> b(a.size());
  fill_normal(a, DType::bf16, 5);
  fill_normal(b, DType::bf16, 5);
  EXPECT_EQ(a, b);
  fill_normal(b, DType::bf16, 6);
  EXPECT_NE(a, b);
}

TEST(HostData, IsStandardNormal) {
  std::vector<std::uint16_t> bits(1'000'000);
  fill_normal(bits, DType::f16, 1);
  double sum = 0;
  double squares = 0;
  for (const std::uint16_t b : bits) {
    const auto x = static_cast<double>(from_bits(b, DType::f16));
    ASSERT_TRUE(std::isfinite(x));
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / 1e6, 0, 0.01);
  EXPECT_NEAR(squares / 1e6, 1, 0.02);
}

TEST(HostData, DecodeLengthsAreWithinTheCache) {
  const Problem problem{.request = {KernelKind::decode, {}}, .batch = 50, .len_k = 33};
  const HostInputs inputs = random_inputs(problem, 9);
  ASSERT_EQ(inputs.lengths.size(), 50U);
  EXPECT_EQ(inputs.lengths.front(), 33);
  EXPECT_THAT(inputs.lengths, testing::Each(testing::AllOf(testing::Ge(1), testing::Le(33))));
  EXPECT_LT(*std::ranges::min_element(inputs.lengths), 20);
}

TEST(ParallelFor, DoesEachOnce) {
  std::vector<std::atomic<int>> done(1000);
  parallel_for(done.size(), [&](std::size_t i) { ++done[i]; });
  EXPECT_TRUE(std::ranges::all_of(done, [](const auto& count) { return count == 1; }));
  parallel_for(0, [](std::size_t) { FAIL(); });
}

TEST(ParallelFor, ThrowsWhatTheWorkThrew) {
  EXPECT_THROW(parallel_for(100,
                            [](std::size_t i) {
                              if (i == 50) throw std::runtime_error("fifty");
                            }),
               std::runtime_error);
}

}  // namespace
}  // namespace kiln::tune
