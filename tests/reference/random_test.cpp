#include "support/random.hpp"

#include "support/pairwise.hpp"
#include "support/parallel.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace kiln::test {
namespace {

TEST(Random, IsTheSameOnEveryMachine) {
  EXPECT_EQ(mix(42, 0), 0xbdd7'3226'2feb'6e95U);
  EXPECT_EQ(uniform(42, 0), static_cast<float>(0xbdd732) * 0x1p-24F);
  EXPECT_NE(mix(42, 1), mix(42, 2));
  EXPECT_NE(mix(42, 1), mix(43, 1));
}

TEST(Random, NormalHasMeanZeroAndVarianceOne) {
  double sum = 0;
  double squares = 0;
  constexpr int kCount = 100'000;
  for (int i = 0; i < kCount; ++i) {
    const double x = normal(1, static_cast<std::uint64_t>(i));
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / kCount, 0, 0.02);
  EXPECT_NEAR(squares / kCount, 1, 0.02);
}

TEST(Pairwise, EveryPairOccursInFarFewerRowsThanTheProduct) {
  const std::vector<int> sizes = {2, 3, 7, 9, 5, 2};
  const auto rows = pairwise_cover(sizes, 3);
  EXPECT_EQ(rows, pairwise_cover(sizes, 3));
  EXPECT_LT(rows.size(), 120U);  // of 3780
  for (std::size_t a = 0; a < sizes.size(); ++a)
    for (std::size_t b = a + 1; b < sizes.size(); ++b)
      for (int x = 0; x < sizes[a]; ++x)
        for (int y = 0; y < sizes[b]; ++y)
          EXPECT_TRUE(std::ranges::any_of(rows, [&](const auto& row) { return row[a] == x && row[b] == y; }))
              << a << ":" << x << " with " << b << ":" << y;
}

TEST(Parallel, RunsEveryIndexOnce) {
  std::array<std::atomic<int>, 1000> runs{};
  parallel_for(1000, [&](int i) { ++runs[static_cast<std::size_t>(i)]; });
  EXPECT_TRUE(std::ranges::all_of(runs, [](const auto& count) { return count == 1; }));
  parallel_for(0, [](int) { FAIL(); });
}

}  // namespace
}  // namespace kiln::test
