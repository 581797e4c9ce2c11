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
        BadShape{"page_size", [](Problem& p) { p.page_size = 0; }, "page_size is 0: it must be between 1"},
        BadShape{"splits", [](Problem& p) { p.num_splits = 3; }, "3 splits of 0 keys are given, but only decode"},
        BadShape{"lengths", [](Problem& p) { p.lengths = {1, 2}; }, "only decode and ragged kernels take them"},
        BadShape{"too_few_lengths",
                 [](Problem& p) {
                   p.request.config.ragged = true;
                   p.lengths = {1};
                 },
                 "lengths are 1: a batch of 2 has as many"},
        BadShape{"long_length",
                 [](Problem& p) {
                   p.request.config.ragged = true;
                   p.lengths = {1, 17};
                 },
                 "a length is 17: it must be between 0 and 16"}),
    [](const auto& test) { return test.param.name; });

TEST(Problem, Tf32IsRefused) {
  Problem problem = kForward;
  problem.request.config.dtype = DType::f32;
  EXPECT_NO_THROW(validate(problem));
  problem.request.config.allow_tf32 = true;
  EXPECT_THAT(error_of(ErrorCode::unsupported, [&] { validate(problem); }), HasSubstr("allow_tf32"));
}

TEST(Problem, GoodOnePasses) { EXPECT_NO_THROW(validate(kForward)); }

Problem decode_problem() {
  return {.request = {KernelKind::decode, {.causal = true}},
          .batch = 2,
          .len_q = 3,
          .len_k = 16,
          .heads_q = 4,
          .heads_kv = 2};
}

constexpr double kBytesOfAKey = 2.0 * 2 * (128 + 128);

TEST(DecodeBytes, AreThoseOfKeysThatSomeQuerySees) {
  Problem problem = decode_problem();
  EXPECT_DOUBLE_EQ(kv_bytes(problem), kBytesOfAKey * 2 * 16);
  problem.request.config.window = Window::sliding;
  problem.window_left = 4;
  EXPECT_DOUBLE_EQ(kv_bytes(problem), kBytesOfAKey * 2 * (3 + 4));
}

TEST(DecodeBytes, FollowTheLengths) {
  Problem problem = decode_problem();
  problem.lengths = {0, 5};
  EXPECT_DOUBLE_EQ(kv_bytes(problem), kBytesOfAKey * 5);
}

TEST(Pages, AreRoundedUp) {
  Problem problem = decode_problem();
  problem.page_size = 5;
  EXPECT_EQ(problem.k_elements(), 2U * 16 * 2 * 128);
  problem.request.config.paged = true;
  EXPECT_EQ(problem.pages_of_a_sequence(), 4);
  EXPECT_EQ(problem.k_elements(), 2U * 20 * 2 * 128);
}

TEST(ShapeText, SaysWhatTheProblemHas) {
  Problem problem = decode_problem();
  EXPECT_EQ(shape_text(problem), "2×4/2 heads, 3 queries, 16 keys");
  problem.len_q = 1;
  problem.request.config.paged = true;
  problem.lengths = {3, 16};
  EXPECT_EQ(shape_text(problem), "2×4/2 heads, 16 keys at most, 19 in all, pages of 16");
}

}  // namespace
}  // namespace kiln::tune
