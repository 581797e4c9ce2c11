// Forward where attention kernels usually break.
#include "gpu/forward_call.hpp"
#include "support/half.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace kiln::test {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

class ForwardEdges : public GpuTest, public ::testing::WithParamInterface<DType> {
 protected:
  /// Checks `test` with the reference and gives the call back for a look at its results.
  ForwardCall run(const ForwardCase& test) {
    ForwardCall call(test);
    call.upload();
    call.launch(stream());
    EXPECT_TRUE(call.matches_reference());
    return call;
  }
};

INSTANTIATE_TEST_SUITE_P(Types, ForwardEdges, ::testing::Values(DType::bf16, DType::f16),
                         [](const auto& test) { return test.param == DType::f16 ? "f16" : "bf16"; });

TEST_P(ForwardEdges, RowsThatSeeNoKeyAreZeroWithLseMinusInfinity) {
  const ForwardCall call =
      run({.config = {.dtype = GetParam(), .causal = true}, .batch = 2, .len_q = 200, .len_k = 70});
  const std::vector<float> lse = call.lse.download();
  for (int i = 0; i < 130; ++i) {
    ASSERT_EQ(*call.out.view().at(1, i, 1), 0) << "row " << i;
    ASSERT_EQ(lse[static_cast<std::size_t>(i)], -kInf) << "row " << i;
  }
  EXPECT_TRUE(std::isfinite(lse[130]));
}

TEST_P(ForwardEdges, NoKeysAtAllGiveZeroAndNoPointerIsAskedFor) {
  ForwardCall call({.config = {.dtype = GetParam()}, .batch = 2, .len_q = 33, .len_k = 0});
  call.upload();
  ForwardArgs args = call.args();
  args.k.data = nullptr;
  args.v.data = nullptr;
  Gpu::runtime().forward(call.test.config).launch(stream(), args);
  EXPECT_TRUE(call.matches_reference());
}

TEST_P(ForwardEdges, NothingToDoIsNoError) {
  const ForwardKernel kernel = Gpu::runtime().forward({.dtype = GetParam()});
  ForwardArgs args{.heads_q = 4, .heads_kv = 2};
  for (const auto& [batch, len_q, len_k] : {std::tuple{0, 0, 0}, {0, 7, 7}, {3, 0, 7}, {3, 0, 0}}) {
    args.batch = batch;
    args.len_q = len_q;
    args.len_k = len_k;
    EXPECT_NO_THROW(kernel.launch(stream(), args)) << batch << " " << len_q << " " << len_k;
  }
}

TEST_P(ForwardEdges, AHugeNegativeScoreAloneGivesItsValueExactly) {
  // Scores from −524288 on: products with the scale whose rounding would show if the one key got a
  // weight other than exactly 1.
  for (const int dim : {64, 128})
    for (const float scale : {1.0F, 0.7F, 0.088388348F}) {
      ForwardCall call({.config = {.dtype = GetParam(), .head_dim_qk = dim, .head_dim_v = dim},
                        .len_q = 70,
                        .len_k = 1,
                        .scale = scale});
      call.q.fill(0);
      call.k.fill(0);
      const auto first_element = [](int i) { return 1024.0F - 4.0F * static_cast<float>(i); };
      for (int head = 0; head < 2; ++head) {
        for (int i = 0; i < 70; ++i) *call.q.row(0, i, head) = to_16(GetParam(), first_element(i));
        *call.k.row(0, 0, head) = to_16(GetParam(), -512);
      }
      call.upload();
      call.launch(stream());
      synchronize();
      call.out.download();
      const std::vector<float> lse = call.lse.download();
      for (int i = 0; i < 70; ++i) {
        for (int c = 0; c < dim; ++c)
          ASSERT_EQ(call.out.view().at(0, i, 1)[c], call.v.view().at(0, 0, 1)[c]) << "row " << i << ", dim " << c;
        const double score = -512.0 * round_16(GetParam(), first_element(i)) * scale;
        EXPECT_NEAR(lse[static_cast<std::size_t>(i)], score, 1e-3 - score * 0x1p-20) << "row " << i;
      }
    }
}

TEST_P(ForwardEdges, AHugeNegativeScoreInEveryTileGivesTheMeanExactly) {
  // All 300 keys score −524288, so each weighs the same: values of 1 must come out as 1.
  ForwardCall call({.config = {.dtype = GetParam()}, .len_q = 5, .len_k = 300, .scale = 1.0F});
  call.q.fill(1024.0F / 128);
  call.k.fill(-512.0F);
  call.v.fill(1);
  call.upload();
  call.launch(stream());
  synchronize();
  call.out.download();
  for (int i = 0; i < 5; ++i)
    for (int head = 0; head < 2; ++head)
      for (int c = 0; c < 128; ++c) ASSERT_EQ(call.out.get(0, i, head, c), 1);
}

TEST_P(ForwardEdges, AHugePositiveScoreTakesAll) {
  // Key 150 scores +30000 and the others are tiny: its value is the answer.
  ForwardCall call({.config = {.dtype = GetParam()}, .len_q = 70, .len_k = 300, .scale = 1.0F});
  call.q.fill(0);
  for (int i = 0; i < 70; ++i)
    for (int head = 0; head < 2; ++head) *call.q.row(0, i, head) = to_16(GetParam(), 256);
  call.k.fill(0);
  for (int head = 0; head < 2; ++head) *call.k.row(0, 150, head) = to_16(GetParam(), 117.1875F);
  const float score = 256 * round_16(GetParam(), 117.1875F);
  call.upload();
  call.launch(stream());
  synchronize();
  call.out.download();
  for (int i = 0; i < 70; ++i)
    for (int c = 0; c < 128; ++c)
      ASSERT_EQ(call.out.view().at(0, i, 0)[c], call.v.view().at(0, 150, 0)[c]) << "row " << i << ", dim " << c;
  for (const float lse : call.lse.download()) EXPECT_NEAR(lse, score, 0.03);
}

TEST_P(ForwardEdges, ZeroStridesRepeatHeadsAndRows) {
  ForwardCall call(
      {.config = {.dtype = GetParam()}, .batch = 2, .len_q = 40, .len_k = 90, .heads_q = 4, .heads_kv = 4});
  call.upload();
  ForwardArgs args = call.args();
  args.k.strides.head = 0;
  args.v.strides.head = 0;
  args.q.strides.row = 0;
  Gpu::runtime().forward(call.test.config).launch(stream(), args);
  Problem truth = call.problem();
  truth.k.strides.head = 0;
  truth.v.strides.head = 0;
  truth.q.strides.row = 0;
  const Judge judge(truth);
  synchronize();
  call.out.download();
  EXPECT_TRUE(output_matches(truth, call.out.view(), judge, repro()));
}

TEST_P(ForwardEdges, OnePackedQkvTensorServesAsAllThree) {
  // [batch, length, 3 · heads, dim]: q, k and v are slices of the same rows.
  constexpr int kHeadCount = 3;
  constexpr int kDim = 64;
  ForwardCase test{.config = {.dtype = GetParam(), .head_dim_qk = kDim, .head_dim_v = kDim, .causal = true},
                   .batch = 2,
                   .len_q = 130,
                   .len_k = 130,
                   .heads_q = kHeadCount,
                   .heads_kv = kHeadCount};
  ForwardCall call(test);
  Tensor qkv(GetParam(), Layout::bshd, {2, 130, 3 * kHeadCount, kDim});
  qkv.fill_random(5);
  qkv.upload();
  call.upload();
  ForwardArgs args = call.args();
  Problem truth = call.problem();
  Input* const inputs[] = {&args.q, &args.k, &args.v};
  View* const views[] = {&truth.q, &truth.k, &truth.v};
  for (int part = 0; part < 3; ++part) {
    const std::ptrdiff_t first = static_cast<std::ptrdiff_t>(part) * kHeadCount * kDim;
    *inputs[part] = {static_cast<const std::uint16_t*>(qkv.input().data) + first, qkv.strides()};
    *views[part] = {static_cast<const std::uint16_t*>(qkv.view().data) + first, qkv.strides()};
  }
  Gpu::runtime().forward(test.config).launch(stream(), args);
  const Judge judge(truth);
  synchronize();
  call.out.download();
  EXPECT_TRUE(output_matches(truth, call.out.view(), judge, repro()));
  EXPECT_TRUE(lse_matches(truth, call.lse.download(), judge, repro()));
}

TEST_P(ForwardEdges, LongSequencesOnEitherSide) {
  run({.config = {.dtype = GetParam()}, .len_q = 16, .len_k = 131'072, .heads_q = 1, .heads_kv = 1});
  run({.config = {.dtype = GetParam(), .causal = true}, .len_q = 1, .len_k = 131'072, .heads_q = 2, .heads_kv = 1});
  run({.config = {.dtype = GetParam(), .causal = true}, .len_q = 70'000, .len_k = 9, .heads_q = 1, .heads_kv = 1});
}

TEST_P(ForwardEdges, ManyHeadsAndManySequences) {
  run({.config = {.dtype = GetParam(), .head_dim_qk = 64, .head_dim_v = 64},
       .batch = 70,
       .len_q = 3,
       .len_k = 5,
       .heads_q = 1000,
       .heads_kv = 500});
  run({.config = {.dtype = GetParam(), .head_dim_qk = 64, .head_dim_v = 64},
       .batch = 70'000,  // more than a grid's y or z could take
       .len_q = 1,
       .len_k = 3,
       .heads_q = 2,
       .heads_kv = 1});
}

TEST_P(ForwardEdges, NegativeAndZeroScales) {
  run({.config = {.dtype = GetParam()}, .len_q = 70, .len_k = 130, .scale = -0.1F});
  run({.config = {.dtype = GetParam()}, .len_q = 70, .len_k = 130, .scale = 0.0F});
}

TEST_P(ForwardEdges, ScalesOfWideRange) {
  run({.config = {.dtype = GetParam(), .causal = true}, .len_q = 70, .len_k = 130, .scale = 2.0F});
  run({.config = {.dtype = GetParam()}, .len_q = 70, .len_k = 130, .scale = 1e-6F});
}

}  // namespace
}  // namespace kiln::test
