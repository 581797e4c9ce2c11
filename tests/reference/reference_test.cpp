#include "support/reference.hpp"

#include "support/half.hpp"
#include "support/random.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

namespace kiln::test {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

std::vector<std::uint16_t> encode(DType dtype, std::initializer_list<float> values) {
  std::vector<std::uint16_t> bits;
  for (const float value : values) bits.push_back(to_16(dtype, value));
  return bits;
}

std::vector<std::uint16_t> random_bits(DType dtype, std::size_t count, std::uint64_t seed) {
  std::vector<std::uint16_t> bits(count);
  for (std::size_t i = 0; i < count; ++i) bits[i] = to_16(dtype, normal(seed, i));
  return bits;
}

/// One head of two-element rows, worked out by hand: scores of query 0 are ln 3 and 0.
class ByHand : public ::testing::Test {
 protected:
  ByHand() {
    problem_.config = {.dtype = DType::f16, .head_dim_qk = 2, .head_dim_v = 2};
    problem_.len_q = 1;
    problem_.len_k = 2;
    problem_.scale = std::log(3.0F);
    problem_.q = {q_.data(), Strides::bshd(1, 1, 2)};
    problem_.k = {k_.data(), Strides::bshd(2, 1, 2)};
    problem_.v = {v_.data(), Strides::bshd(2, 1, 2)};
  }

  std::vector<std::uint16_t> q_ = encode(DType::f16, {1, 0});
  std::vector<std::uint16_t> k_ = encode(DType::f16, {1, 7, 0, 5});
  std::vector<std::uint16_t> v_ = encode(DType::f16, {4, 0, 0, 8});
  Problem problem_;
};

TEST_F(ByHand, WeighsValuesByTheSoftmaxOfTheScores) {
  const Result result = reference(problem_);  // weights 3/4 and 1/4
  EXPECT_NEAR(result.out[0], 3, 1e-7);
  EXPECT_NEAR(result.out[1], 2, 1e-7);
  EXPECT_NEAR(result.lse[0], std::log(4.0), 1e-7);
}

TEST_F(ByHand, KeysBeyondTheLengthDoNotCountEvenIfNan) {
  problem_.lengths = {1};
  k_[2] = kNan16;
  v_[2] = kNan16;
  const Result result = reference(problem_);
  EXPECT_EQ(result.out[0], 4);
  EXPECT_EQ(result.out[1], 0);
  EXPECT_NEAR(result.lse[0], std::log(3.0), 1e-7);
}

TEST_F(ByHand, ARowThatSeesNoKeyIsZeroWithLseMinusInfinity) {
  problem_.lengths = {0};
  for (const Result& result : {reference(problem_), naive(problem_)}) {
    EXPECT_EQ(result.out[0], 0);
    EXPECT_EQ(result.out[1], 0);
    EXPECT_EQ(result.lse[0], -kInf);
  }
}

TEST_F(ByHand, LengthsAreClamped) {
  const Result whole = reference(problem_);
  problem_.lengths = {99};
  EXPECT_EQ(reference(problem_).out, whole.out);
  problem_.lengths = {-5};
  EXPECT_EQ(reference(problem_).lse[0], -kInf);
}

TEST_F(ByHand, OneHugeKeyGivesItsValueExactly) {
  problem_.scale = 1;
  q_[0] = to_f16(1024);
  k_[0] = to_f16(-512);  // raw score −524288
  problem_.len_k = 1;
  EXPECT_EQ(reference(problem_).out[0], 4);
  EXPECT_EQ(reference(problem_).lse[0], -524288);
}

TEST_F(ByHand, NaiveRoundsEachStep) {
  const Result result = naive(problem_);
  const float scaled = round_16(DType::f16, round_16(DType::f16, 1) * problem_.scale);
  const float weight = round_16(DType::f16, 1 / (1 + std::exp(-scaled)));
  EXPECT_EQ(result.out[0], round_16(DType::f16, weight * 4));
  EXPECT_NE(result.out[0], reference(problem_).out[0]);
}

TEST(Reference, QueryHeadsShareTheirKvHead) {
  Problem problem;
  problem.config = {.dtype = DType::bf16, .head_dim_qk = 8, .head_dim_v = 8};
  problem.len_k = 5;
  problem.heads_q = 6;
  problem.heads_kv = 2;
  const auto q = random_bits(DType::bf16, std::size_t{6} * 8, 1);
  const auto k = random_bits(DType::bf16, std::size_t{5} * 2 * 8, 2);
  const auto v = random_bits(DType::bf16, std::size_t{5} * 2 * 8, 3);
  problem.q = {q.data(), Strides::bshd(1, 6, 8)};
  problem.k = {k.data(), Strides::bshd(5, 2, 8)};
  problem.v = {v.data(), Strides::bshd(5, 2, 8)};
  const Result together = reference(problem);
  for (int head = 0; head < 6; ++head) {
    Problem one = problem;
    one.heads_q = 1;
    one.heads_kv = 1;
    one.q.data = problem.q.at(0, 0, head);
    one.k.data = problem.k.at(0, 0, head / 3);
    one.v.data = problem.v.at(0, 0, head / 3);
    const Result alone = reference(one);
    for (std::size_t c = 0; c < 8; ++c)
      EXPECT_EQ(together.out[together.out_at(problem, 0, 0, head) + c], alone.out[c]) << head;
  }
}

/// All of a small problem by the textbook: every key asked for, no blocks, no ranges.
Result textbook(const Problem& problem) {
  Result result;
  for (int b = 0; b < problem.batch; ++b)
    for (int i = 0; i < problem.len_q; ++i)
      for (int head = 0; head < problem.heads_q; ++head) {
        const int kv = head * problem.heads_kv / problem.heads_q;
        double sum = 0;
        std::vector<double> out(static_cast<std::size_t>(problem.config.head_dim_v));
        for (int j = 0; j < problem.keys_of(b); ++j) {
          if (!visible(problem, i, j, problem.lengths_of(b))) continue;
          double score = 0;
          for (int c = 0; c < problem.config.head_dim_qk; ++c)
            score += static_cast<double>(from_16(problem.config.dtype, problem.q.at(b, i, head)[c])) *
                     from_16(problem.config.dtype, problem.k.at(b, j, kv)[c]);
          const double weight = std::exp(score * problem.scale);
          sum += weight;
          for (std::size_t c = 0; c < out.size(); ++c)
            out[c] += weight * from_16(problem.config.dtype, problem.v.at(b, j, kv)[c]);
        }
        for (const double value : out) result.out.push_back(sum > 0 ? value / sum : 0);
      }
  return result;
}

class Masks : public ::testing::TestWithParam<std::tuple<bool, Alignment, Window>> {
 protected:
  Problem problem() const {
    Problem p;
    p.config.causal = std::get<0>(GetParam());
    p.config.alignment = std::get<1>(GetParam());
    p.config.window = std::get<2>(GetParam());
    return p;
  }
};

TEST_P(Masks, RangesHoldJustTheVisibleKeys) {
  Problem p = problem();
  for (const auto& [len_q, len_k] : {std::pair{1, 1}, {1, 9}, {9, 1}, {7, 7}, {5, 12}, {12, 5}, {3, 0}})
    for (const auto& [left, right] : {std::pair{-1, -1}, {0, 0}, {2, 1}, {-1, 0}, {0, -1}, {3, 20}, {20, 3}}) {
      p.window_left = left;
      p.window_right = right;
      for (int i = 0; i < len_q; ++i) {
        const KeyRange range = visible_keys(p, i, {len_q, len_k});
        for (int j = -1; j <= len_k; ++j)
          ASSERT_EQ(visible(p, i, j, {len_q, len_k}), j >= range.begin && j < range.end)
              << "query " << i << " of " << len_q << ", key " << j << " of " << len_k << ", window " << left << ","
              << right;
      }
    }
}

TEST_P(Masks, ResultIsTheTextbooks) {
  Problem p = problem();
  p.config.dtype = DType::bf16;
  p.config.head_dim_qk = 16;
  p.config.head_dim_v = 8;
  p.batch = 2;
  p.heads_q = 4;
  p.heads_kv = 2;
  p.scale = 0.25F;
  p.window_left = 40;
  p.window_right = 3;
  p.lengths = {300, 17};
  for (const auto& [len_q, len_k] : {std::pair{37, 300}, {70, 33}}) {
    p.len_q = len_q;
    p.len_k = len_k;
    const auto count = [](int length, int heads, int dim) {
      return std::size_t{2} * static_cast<std::size_t>(length) * static_cast<std::size_t>(heads) *
             static_cast<std::size_t>(dim);
    };
    const auto q = random_bits(DType::bf16, count(len_q, 4, 16), 4);
    const auto k = random_bits(DType::bf16, count(len_k, 2, 16), 5);
    const auto v = random_bits(DType::bf16, count(len_k, 2, 8), 6);
    p.q = {q.data(), Strides::bhsd(len_q, 4, 16)};
    p.k = {k.data(), Strides::bshd(len_k, 2, 16)};
    p.v = {v.data(), Strides::bhsd(len_k, 2, 8)};
    const Result got = reference(p);
    const Result want = textbook(p);
    ASSERT_EQ(got.out.size(), want.out.size());
    for (std::size_t at = 0; at < want.out.size(); ++at) ASSERT_NEAR(got.out[at], want.out[at], 1e-12) << at;
  }
}

INSTANTIATE_TEST_SUITE_P(All, Masks,
                         ::testing::Combine(::testing::Bool(),
                                            ::testing::Values(Alignment::bottom_right, Alignment::top_left),
                                            ::testing::Values(Window::none, Window::sliding)),
                         [](const auto& test) {
                           return std::string(std::get<0>(test.param) ? "causal" : "full") +
                                  (std::get<1>(test.param) == Alignment::top_left ? "_top_left" : "_bottom_right") +
                                  (std::get<2>(test.param) == Window::sliding ? "_sliding" : "");
                         });

struct Visible {
  int len_q, len_k, i, j;
  bool causal;
  Alignment alignment;
  int left, right;
  bool expected;
};

TEST(Visible, MeansWhatTheConventionsSay) {
  constexpr auto kBottom = Alignment::bottom_right;
  constexpr auto kTop = Alignment::top_left;
  const std::array cases = {
      Visible{2, 5, 0, 3, true, kBottom, -1, -1, true},   // δ = 3: the first of two queries sees key 3
      Visible{2, 5, 0, 4, true, kBottom, -1, -1, false},  // and not the last key
      Visible{2, 5, 0, 1, true, kTop, -1, -1, false},     // top left: only key 0
      Visible{2, 5, 0, 0, true, kTop, -1, -1, true},      //
      Visible{5, 2, 2, 0, true, kBottom, -1, -1, false},  // δ = −3: the first three queries see nothing
      Visible{5, 2, 3, 0, true, kBottom, -1, -1, true},   //
      Visible{4, 4, 2, 1, false, kBottom, 1, 0, true},    // left does not count the query's own position
      Visible{4, 4, 2, 0, false, kBottom, 1, 0, false},   //
      Visible{4, 4, 2, 3, false, kBottom, 1, 0, false},   //
      Visible{4, 4, 2, 3, false, kBottom, 1, 1, true},    //
      Visible{4, 4, 2, 3, true, kBottom, 1, 1, false},    // causal and window both hold
      Visible{1, 8, 0, 4, false, kBottom, 3, 0, true},    // δ = 7
      Visible{1, 8, 0, 3, false, kBottom, 3, 0, false},   //
      Visible{1, 8, 0, 3, false, kTop, 3, 2, false},      // δ = 0
      Visible{1, 8, 0, 2, false, kTop, 3, 2, true},       //
  };
  for (const Visible& c : cases) {
    Problem p;
    p.config.causal = c.causal;
    p.config.alignment = c.alignment;
    p.config.window = Window::sliding;
    p.window_left = c.left;
    p.window_right = c.right;
    EXPECT_EQ(visible(p, c.i, c.j, {c.len_q, c.len_k}), c.expected) << "query " << c.i << ", key " << c.j;
  }
}

}  // namespace
}  // namespace kiln::test
