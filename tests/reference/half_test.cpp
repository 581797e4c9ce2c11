#include "support/half.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace kiln::test {
namespace {

class Half : public ::testing::TestWithParam<DType> {};

TEST_P(Half, EveryValueSurvivesTheRoundTrip) {
  for (std::uint32_t bits = 0; bits <= 0xffffU; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float value = from_16(GetParam(), half);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(round_16(GetParam(), value))) << bits;
    } else {
      EXPECT_EQ(to_16(GetParam(), value), half) << bits;
    }
  }
}

TEST_P(Half, RoundsToTheNearestAndTiesToEven) {
  const std::uint16_t infinity = to_16(GetParam(), std::numeric_limits<float>::infinity());
  for (std::uint16_t low = 0; low + 1 < infinity; ++low) {
    const auto high = static_cast<std::uint16_t>(low + 1);
    const float at = from_16(GetParam(), low);
    const float middle = at + (from_16(GetParam(), high) - at) / 2;
    ASSERT_EQ(to_16(GetParam(), middle), low % 2 == 0 ? low : high) << low;
    ASSERT_EQ(to_16(GetParam(), std::nextafter(middle, 0.0F)), low) << low;
    ASSERT_EQ(to_16(GetParam(), std::nextafter(middle, std::numeric_limits<float>::infinity())), high) << low;
  }
}

INSTANTIATE_TEST_SUITE_P(Types, Half, ::testing::Values(DType::f16, DType::bf16),
                         [](const auto& test) { return test.param == DType::f16 ? "f16" : "bf16"; });

TEST(HalfValues, AreTheKnownOnes) {
  EXPECT_EQ(to_f16(1.0F), 0x3c00);
  EXPECT_EQ(to_f16(-2.0F), 0xc000);
  EXPECT_EQ(to_f16(65504.0F), 0x7bff);
  EXPECT_EQ(to_f16(65519.0F), 0x7bff);
  EXPECT_EQ(to_f16(65520.0F), 0x7c00);
  EXPECT_EQ(to_f16(0x1p-24F), 0x0001);
  EXPECT_EQ(to_f16(0x1p-25F), 0x0000);
  EXPECT_EQ(to_bf16(1.0F), 0x3f80);
  EXPECT_EQ(to_bf16(-3.0F), 0xc040);
  EXPECT_TRUE(std::isnan(from_f16(kNan16)));
  EXPECT_TRUE(std::isnan(from_bf16(kNan16)));
}

}  // namespace
}  // namespace kiln::test
