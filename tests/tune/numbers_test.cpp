#include "plan/kernel_config.hpp"
#include "plan/names.hpp"
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
  std::vector<std::byte> a(6'000'002);
  std::vector<std::byte> b(a.size());
  fill_normal(a, DType::bf16, 5);
  fill_normal(b, DType::bf16, 5);
  EXPECT_EQ(a, b);
  fill_normal(b, DType::bf16, 6);
  EXPECT_NE(a, b);
}

class Normal : public testing::TestWithParam<DType> {};

TEST_P(Normal, HasMeanZeroAndVarianceOne) {
  constexpr std::size_t kCount = 1'000'000;
  std::vector<std::byte> tensor(kCount * static_cast<std::size_t>(plan::element_bytes(GetParam())));
  fill_normal(tensor, GetParam(), 1);
  double sum = 0;
  double squares = 0;
  for (std::size_t i = 0; i < kCount; ++i) {
    const auto x = static_cast<double>(load_element(tensor, i, GetParam()));
    ASSERT_TRUE(std::isfinite(x));
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / kCount, 0, 0.01);
  EXPECT_NEAR(squares / kCount, 1, 0.02);
}

INSTANTIATE_TEST_SUITE_P(Types, Normal, testing::Values(DType::f16, DType::bf16, DType::f32),
                         [](const auto& test) { return std::string(plan::to_string(test.param)); });

TEST(HostData, AnEighthOfAMaskIsHidden) {
  std::vector<std::byte> mask(100'000);
  fill_mask(mask, 3);
  EXPECT_NEAR(static_cast<double>(std::ranges::count(mask, std::byte{0})) / 100'000, 0.125, 0.01);
}

TEST(HostData, ZipfLengthsAreOfAllMagnitudes) {
  const auto lengths = zipf_lengths(10'000, 1 << 15, 7);
  EXPECT_EQ(lengths, zipf_lengths(10'000, 1 << 15, 7));
  EXPECT_THAT(lengths, testing::Each(testing::AllOf(testing::Ge(1), testing::Le(1 << 15))));
  // As many below 32 as from 1024 to 32 k.
  const auto short_ones = std::ranges::count_if(lengths, [](int length) { return length < 32; });
  const auto long_ones = std::ranges::count_if(lengths, [](int length) { return length >= 1024; });
  EXPECT_NEAR(static_cast<double>(short_ones), 10'000 / 3.0, 200);
  EXPECT_NEAR(static_cast<double>(long_ones), 10'000 / 3.0, 200);
}

TEST(HostData, PagesAreShuffledAndNoneIsShared) {
  const Problem problem{.request = {KernelKind::decode, {.paged = true}}, .batch = 3, .len_k = 33, .page_size = 5};
  auto pages = random_inputs(problem, 4).pages;
  ASSERT_EQ(pages.size(), 3U * 7);
  EXPECT_FALSE(std::ranges::is_sorted(pages));
  std::ranges::sort(pages);
  for (std::size_t i = 0; i < pages.size(); ++i) EXPECT_EQ(pages[i], static_cast<int>(i));
}

TEST(HostData, HasWhatTheConfigAsksFor) {
  Problem problem{.request = {}, .batch = 2, .len_q = 3, .len_k = 7, .heads_q = 4, .heads_kv = 2};
  const HostInputs plain = random_inputs(problem, 1);
  EXPECT_TRUE(plain.lengths.empty() && plain.lengths_q.empty() && plain.pages.empty());
  EXPECT_TRUE(plain.alibi_slopes.empty() && plain.sinks.empty() && plain.bias.empty());
  problem.request.config = {.alibi = true, .sinks = true, .bias = Bias::additive, .ragged = true};
  const HostInputs full = random_inputs(problem, 1);
  EXPECT_EQ(full.lengths.size(), 2U);
  EXPECT_EQ(full.lengths_q.size(), 2U);
  EXPECT_EQ(full.alibi_slopes, (std::vector<float>{0.25F, 0.0625F, 0.015625F, 0.00390625F}));
  EXPECT_EQ(full.sinks.size(), 4U);
  EXPECT_EQ(full.bias.size(), 4U * 3 * 7 * 2);
  problem.request.config.bias = Bias::mask;
  EXPECT_EQ(random_inputs(problem, 1).bias.size(), 2U * 3 * 7);
}

TEST(HostData, GivenLengthsAreTaken) {
  const Problem problem{.request = {KernelKind::decode, {}}, .batch = 2, .len_k = 9, .lengths = {4, 9}};
  EXPECT_EQ(random_inputs(problem, 1).lengths, problem.lengths);
  EXPECT_EQ(small_inputs(problem, 1).lengths, problem.lengths);
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
