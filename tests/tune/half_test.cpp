#include "tune/half.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace kiln::tune {
namespace {

struct Case {
  DType type;
  float value;
  std::uint16_t bits;
};

class Rounds : public testing::TestWithParam<Case> {};

TEST_P(Rounds, ToNearestEven) {
  const auto& [type, value, bits] = GetParam();
  EXPECT_EQ(to_bits(value, type), bits) << value;
  EXPECT_EQ(to_bits(-value, type), bits | 0x8000) << -value;
}

constexpr float kInfinity = std::numeric_limits<float>::infinity();

INSTANTIATE_TEST_SUITE_P(F16, Rounds,
                         testing::Values(Case{DType::f16, 0.0F, 0x0000}, Case{DType::f16, 1.0F, 0x3C00},
                                         Case{DType::f16, 0x1.004p0F, 0x3C01},   // a step above 1
                                         Case{DType::f16, 0x1.002p0F, 0x3C00},   // a tie, to even below
                                         Case{DType::f16, 0x1.006p0F, 0x3C02},   // a tie, to even above
                                         Case{DType::f16, 0x1.0021p0F, 0x3C01},  // just over the tie
                                         Case{DType::f16, 65504.0F, 0x7BFF}, Case{DType::f16, 65519.0F, 0x7BFF},
                                         Case{DType::f16, 65520.0F, 0x7C00}, Case{DType::f16, 1e30F, 0x7C00},
                                         Case{DType::f16, kInfinity, 0x7C00}, Case{DType::f16, 0x1p-14F, 0x0400},
                                         Case{DType::f16, 0x1p-24F, 0x0001}, Case{DType::f16, 0x1p-25F, 0x0000},
                                         Case{DType::f16, 0x1.8p-24F, 0x0002},
                                         Case{DType::f16, 0x1.ffep-15F, 0x0400}));  // rounds up out of the subnormals
INSTANTIATE_TEST_SUITE_P(Bf16, Rounds,
                         testing::Values(Case{DType::bf16, 0.0F, 0x0000}, Case{DType::bf16, 1.0F, 0x3F80},
                                         Case{DType::bf16, 0x1.01p0F, 0x3F80}, Case{DType::bf16, 0x1.03p0F, 0x3F82},
                                         Case{DType::bf16, 0x1.0102p0F, 0x3F81}, Case{DType::bf16, 3.4e38F, 0x7F80},
                                         Case{DType::bf16, kInfinity, 0x7F80}));

class EveryPattern : public testing::TestWithParam<DType> {};

TEST_P(EveryPattern, SurvivesTheRoundTrip) {
  for (unsigned bits = 0; bits < 0x10000; ++bits) {
    const float value = from_bits(static_cast<std::uint16_t>(bits), GetParam());
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(rounded(value, GetParam()))) << bits;
    } else {
      ASSERT_EQ(to_bits(value, GetParam()), bits);
    }
  }
}

TEST_P(EveryPattern, NanStaysNan) {
  EXPECT_TRUE(std::isnan(rounded(std::numeric_limits<float>::quiet_NaN(), GetParam())));
  EXPECT_TRUE(std::isnan(rounded(std::numeric_limits<float>::signaling_NaN(), GetParam())));
}

INSTANTIATE_TEST_SUITE_P(Types, EveryPattern, testing::Values(DType::f16, DType::bf16),
                         [](const auto& test) { return test.param == DType::f16 ? "f16" : "bf16"; });

}  // namespace
}  // namespace kiln::tune
