#include "tune/problem.hpp"

#include "support/expect_error.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kiln::tune {
namespace {

using test::error_of;
using testing::HasSubstr;

const Problem kForward{.request = {}, .batch = 2, .len_q = 8, .len_k = 16, .heads_q = 4, .heads_kv = 2};

TEST(Problem, FlopsAreFourPerPairAndDim) {
  EXPECT_DOUBLE_EQ(flops(kForward), 4.0 * 2 * 4 * 8 * 16 * 128);
  Problem causal = kForward;
  causal.request.config.causal = true;
  EXPECT_DOUBLE_EQ(flops(causal), flops(kForward) / 2);
  Problem narrow_v = kForward;
  narrow_v.request.config.head_dim_v = 64;
  EXPECT_DOUBLE_EQ(flops(narrow_v), 2.0 * 2 * 4 * 8 * 16 * (128 + 64));
}

TEST(Problem, BytesAreThoseOfKeysAndValues) { EXPECT_DOUBLE_EQ(kv_bytes(kForward), 2.0 * 2 * 16 * 2 * (128 + 128)); }

TEST(Problem, SizesOfTensors) {
  EXPECT_EQ(kForward.q_elements(), 2U * 8 * 4 * 128);
  EXPECT_EQ(kForward.k_elements(), 2U * 16 * 2 * 128);
  EXPECT_EQ(kForward.rows(), 2U * 8 * 4);
}

struct BadShape {
  const char* name;
  void (*spoil)(Problem&);
  const char* message;
};

class BadProblem : public testing::TestWithParam<BadShape> {};

TEST_P(BadProblem, IsRefusedByName) {
  Problem problem = kForward;
  GetParam().spoil(problem);
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { validate(problem); }), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, BadProblem,
    testing::Values(
        BadShape{"batch", [](Problem& p) { p.batch = 0; }, "batch is 0: it must be between 1 and 65536"},
        BadShape{"len_k", [](Problem& p) { p.len_k = -3; }, "len_k is -3"},
        BadShape{"heads", [](Problem& p) { p.heads_q = 5; }, "heads_q 5 is not a multiple of heads_kv 2"},
        BadShape{"window", [](Problem& p) { p.window_left = 4; }, "window (4, -1) is given but the config has no"},
        BadShape{"decode", [](Problem& p) { p.request.kind = KernelKind::decode; }, "len_q is 8: a decode call"}),
    [](const auto& test) { return test.param.name; });

TEST(Problem, Float32IsRefused) {
  Problem problem = kForward;
  problem.request.config.dtype = DType::f32;
  EXPECT_THAT(error_of(ErrorCode::unsupported, [&] { validate(problem); }), HasSubstr("dtype f32"));
}

TEST(Problem, GoodOnePasses) { EXPECT_NO_THROW(validate(kForward)); }

}  // namespace
}  // namespace kiln::tune
