// What a forward call may bring beside q, k and v, where it usually breaks: scores that are changed, sequences with
// lengths of their own, pages.
#include "gpu/feature_edges.hpp"

#include "gpu/forward_call.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace kiln::test {
namespace {

constexpr AttentionConfig kAdditive{.bias = Bias::additive};
constexpr AttentionConfig kMask{.bias = Bias::mask};
constexpr AttentionConfig kSoftcap{.softcap = true};
constexpr AttentionConfig kCausalSoftcap{.causal = true, .softcap = true};
constexpr AttentionConfig kSoftcapMask{.softcap = true, .bias = Bias::mask};
constexpr AttentionConfig kSlidingSoftcap{.window = Window::sliding, .softcap = true};
constexpr AttentionConfig kCausalSinks{.causal = true, .sinks = true};
constexpr AttentionConfig kAlibi{.alibi = true};
constexpr AttentionConfig kAlibiAdditive{.alibi = true, .bias = Bias::additive};
constexpr AttentionConfig kSinks{.sinks = true};
constexpr AttentionConfig kSoftcapSinks{.softcap = true, .sinks = true};
constexpr AttentionConfig kRagged{.ragged = true};
constexpr AttentionConfig kCausalRagged{.causal = true, .ragged = true};
constexpr AttentionConfig kCausalRaggedD64{.head_dim_qk = 64, .head_dim_v = 64, .causal = true, .ragged = true};
constexpr AttentionConfig kRaggedPaged{.ragged = true, .paged = true};
constexpr AttentionConfig kCausalRaggedPaged{.causal = true, .ragged = true, .paged = true};
constexpr AttentionConfig kPaged{.paged = true};
constexpr AttentionConfig kEverything{
    .causal = true, .softcap = true, .alibi = true, .sinks = true, .ragged = true, .paged = true};
constexpr AttentionConfig kFloat32Output{.output_f32 = true};
constexpr std::array kAlibis = {kAlibi, AttentionConfig{.causal = true, .alibi = true},
                                AttentionConfig{.alignment = Alignment::top_left, .alibi = true},
                                AttentionConfig{.causal = true, .alignment = Alignment::top_left, .alibi = true}};
constexpr std::array kFixedWindows = {AttentionConfig{.window = Window::fixed, .window_left = 0, .window_right = 0},
                                      AttentionConfig{.window = Window::fixed, .window_left = 70},
                                      AttentionConfig{.window = Window::fixed, .window_right = 5},
                                      AttentionConfig{.window = Window::fixed, .window_left = 1, .window_right = 64}};
constexpr std::array kHeadDims = {16, 24, 56, 104, 120, 144, 176, 200, 248};

constexpr std::array kTypes = {DType::bf16, DType::f16, DType::f32};

/// Every config of these tests, so that they are compiled at once.
std::vector<KernelRequest> kernels(DType dtype) {
  std::vector<AttentionConfig> configs = {
      kAdditive,          kMask,        kSoftcap,      kCausalSoftcap,   kSoftcapMask,
      kSlidingSoftcap,    kCausalSinks, kAlibi,        kAlibiAdditive,   kSinks,
      kSoftcapSinks,      kRagged,      kCausalRagged, kCausalRaggedD64, kRaggedPaged,
      kCausalRaggedPaged, kPaged,       kEverything,   kFloat32Output};
  configs.insert(configs.end(), kAlibis.begin(), kAlibis.end());
  configs.insert(configs.end(), kFixedWindows.begin(), kFixedWindows.end());
  for (const int dim : kHeadDims) configs.push_back({.head_dim_qk = dim, .head_dim_v = dim});
  return requests_of(KernelKind::forward, dtype, std::move(configs));
}

class FeatureEdges : public FeatureEdgesTest<ForwardCall> {
 protected:
  static void SetUpTestSuite() {
    std::vector<KernelRequest> all;
    for (const DType dtype : kTypes)
      for (const KernelRequest& request : kernels(dtype)) all.push_back(request);
    prepare(all);
  }
  /// The same row of every sequence.
  static void expect_empty_rows(const ForwardCall& call, int i) {
    for (int b = 0; b < call.test.batch; ++b) expect_empty_row(call, b, i, -kInf);
  }
};

INSTANTIATE_TEST_SUITE_P(Types, FeatureEdges, ::testing::ValuesIn(kTypes),
                         [](const auto& test) { return std::string(name_of(test.param)); });

TEST_P(FeatureEdges, RowsOfMinusInfinityBiasAreZeroWithLseMinusInfinity) {
  ForwardCall call({.config = of(kAdditive), .batch = 2, .len_q = 70, .len_k = 150});
  for (int b = 0; b < 2; ++b)
    for (int head = 0; head < 2; ++head)
      for (int j = 0; j < 150; ++j) call.bias.put(b, head, 33, j, -kInf);
  check(call);
  expect_empty_rows(call, 33);
}

TEST_P(FeatureEdges, RowsThatAMaskHidesAreZeroWithLseMinusInfinity) {
  ForwardCall call({.config = of(kMask), .batch = 2, .len_q = 70, .len_k = 150});
  for (int b = 0; b < 2; ++b)
    for (int head = 0; head < 2; ++head)
      for (int j = 0; j < 150; ++j) call.bias.put(b, head, 69, j, 0);
  check(call);
  expect_empty_rows(call, 69);
}

TEST_P(FeatureEdges, AMaskMayShowOneKeyInTheLastTile) {
  ForwardCall call({.config = of(kMask), .len_q = 3, .len_k = 200});
  for (int head = 0; head < 2; ++head)
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j < 200; ++j) call.bias.put(0, head, i, j, j == 199 ? 128 : 0);
  check(call);
}

TEST_P(FeatureEdges, SoftcapOfHugeScores) {
  // Scores of ±524288 and beyond become ±cap; with no bound they would leave all but one key without weight.
  for (const float magnitude : {64.0F, 1024.0F}) {
    ForwardCall call({.config = of(kSoftcap), .len_q = 70, .len_k = 200, .scale = 1.0F, .softcap = 2});
    put_huge_scores(call, magnitude, 2, 200);
    check(call);
  }
}

TEST_P(FeatureEdges, SoftcapNeverShowsWhatTheMaskHides) {
  run({.config = of(kCausalSoftcap), .len_q = 150, .len_k = 70, .lse_base2 = true, .softcap = 0.5F});
  run({.config = of(kSoftcapMask), .len_q = 70, .len_k = 70, .softcap = 0.5F});
  run({.config = of(kSlidingSoftcap),
       .len_q = 200,
       .len_k = 300,
       .window_left = 10,
       .window_right = 0,
       .softcap = 1e-3F});
}

TEST_P(FeatureEdges, SinksOfAnySize) {
  for (const float scale : {0.1F, 2.0F}) {  // the second takes a row's start, −3·10³⁸, beyond float32
    ForwardCall call(
        {.config = of(kCausalSinks), .len_q = 200, .len_k = 70, .heads_q = 6, .heads_kv = 6, .scale = scale});
    call.sinks = {-kInf, -1e30F, -30000, 0, 30000, 1e30F};
    check(call);
    const std::vector<float> lse = call.lse.download();
    EXPECT_EQ(lse[50], -kInf) << scale;
    for (std::size_t head = 1; head < 6; ++head)
      EXPECT_NEAR(lse[head * 200 + 50], call.sinks[head], std::abs(call.sinks[head]) * 1e-6) << scale;
    for (int c = 0; c < 128; ++c) EXPECT_EQ(call.out.get(0, 199, 5, c), 0) << "all but nothing is left for the keys";
  }
}

TEST_P(FeatureEdges, SinksOfGroupedHeadsAndChangedScores) {
  for (const bool softcap : {false, true})
    for (const float scale : {-0.1F, 0.0F, 0.1F})
      run({.config = of(softcap ? kSoftcapSinks : kSinks),
           .len_q = 33,
           .len_k = 100,
           .heads_q = 10,
           .heads_kv = 2,
           .scale = scale});
}

TEST_P(FeatureEdges, ARowWithoutKeysHasItsSinkAsLse) {
  const ForwardCall call = run({.config = of(kSinks), .len_q = 5, .len_k = 0});
  const std::vector<float> lse = call.lse.download();
  for (std::size_t at = 0; at < lse.size(); ++at)
    EXPECT_NEAR(lse[at], call.sinks[at / 5], std::abs(call.sinks[at / 5]) * 1e-6) << at;
}

TEST_P(FeatureEdges, AlibiBeyondEitherEnd) {
  for (const AttentionConfig& config : kAlibis)
    for (const auto& [len_q, len_k] : {std::pair{300, 40}, {40, 300}, {1, 200}, {200, 1}}) {
      ForwardCall call({.config = of(config), .batch = 2, .len_q = len_q, .len_k = len_k, .slopes_per_sequence = true});
      call.alibi_slopes = {0, 0.7F, 0.01F, -0.02F};
      check(call);
    }
}

TEST_P(FeatureEdges, AlibiSoSteepThatOneKeyRemains) {
  ForwardCall call({.config = of(kAlibi), .len_q = 100, .len_k = 100});
  call.alibi_slopes = {1e4F, 1e6F};
  check(call);
}

TEST_P(FeatureEdges, LseToBase2IsTheNaturalOneInOtherUnits) {
  ForwardCase test{.config = of(kCausalSinks), .len_q = 90, .len_k = 120};
  const std::vector<float> natural = run(test).lse.download();
  test.lse_base2 = true;
  ForwardCall call(test);
  check(call);
  EXPECT_NE(natural, call.lse.download());
}

TEST_P(FeatureEdges, AHugeNegativeScoreAloneStillGivesItsValue) {
  // The score goes through every step that changes scores; the one key's weight stays exactly 1.
  ForwardCall call({.config = of(kAlibiAdditive), .len_q = 70, .len_k = 1, .scale = 1.0F});
  call.q.fill(1024.0F / 128);
  call.k.fill(-512.0F);
  for (int head = 0; head < 2; ++head)
    for (int i = 0; i < 70; ++i) call.bias.put(0, head, i, 0, -1000);
  call.upload();
  call.launch(stream());
  synchronize();
  call.out.download();
  for (int i = 0; i < 70; ++i)
    for (int c = 0; c < 128; ++c) {
      const float value = call.v.get(0, 0, 1, c);
      // Three TF32 products leave out what is below 2⁻²².
      EXPECT_NEAR(call.out.get(0, i, 1, c), value, GetParam() == DType::f32 ? std::abs(value) * 0x1p-20F : 0);
    }
}

TEST_P(FeatureEdges, NoSequencesAtAll) {
  const AttentionConfig config = of(kRaggedPaged);
  run({.config = config, .batch = 0, .sequences = {.cu_q = {0}}});
  run({.config = config, .batch = 0, .sequences = {.cu_q = {4}, .total_q = 9}});
  run({.config = of(kRagged), .batch = 0});
}

TEST_P(FeatureEdges, SequencesOfNoLengthAnywhere) {
  const AttentionConfig config = of(kCausalRagged);
  run({.config = config,
       .batch = 7,
       .len_q = 70,
       .len_k = 90,
       .heads_q = 6,
       .sequences = {
           .cu_q = {0, 0, 70, 70, 70, 71, 140, 140}, .cu_k = {0, 0, 0, 90, 90, 180, 181, 181}, .total_q = 140}});
  run({.config = config,
       .batch = 3,
       .len_q = 70,
       .len_k = 90,
       .sequences = {.cu_q = {0, 0, 0, 0}, .cu_k = {0, 50, 50, 90}}});
  run({.config = config,
       .batch = 3,
       .len_q = 70,
       .len_k = 90,
       .sequences = {.used_q = {0, 0, 0}, .used_k = {9, 0, 90}}});
  run({.config = config, .batch = 3, .len_q = 70, .len_k = 90, .sequences = {.used_k = {0, 0, 0}}});
  run({.config = config, .batch = 3, .len_q = 70, .len_k = 0});
}

TEST_P(FeatureEdges, LengthsOutOfRangeAreCut) {
  constexpr std::int32_t kLeast = std::numeric_limits<std::int32_t>::min();
  constexpr std::int32_t kMost = std::numeric_limits<std::int32_t>::max();
  run({.config = of(kRagged),
       .batch = 4,
       .len_q = 70,
       .len_k = 90,
       .sequences = {.used_q = {kMost, 71, kLeast, 70}, .used_k = {kMost, kLeast, 90, -1}}});
}

TEST_P(FeatureEdges, ThousandsOfShortSequences) {
  SequenceCase sequences{.cu_q = {0}, .cu_k = {0}};
  constexpr int kBatch = 5000;
  for (int b = 0; b < kBatch; ++b) {
    sequences.cu_q.push_back(sequences.cu_q.back() + b % 4);
    sequences.cu_k.push_back(sequences.cu_k.back() + b % 7);
  }
  sequences.total_q = sequences.cu_q.back();
  run({.config = of(kCausalRaggedD64), .batch = kBatch, .len_q = 3, .len_k = 6, .heads_q = 4, .sequences = sequences});
}

TEST_P(FeatureEdges, ChunkedPrefillOverPages) {
  // Each sequence brings a chunk of new queries to keys that are cached, beside some that decode one token.
  for (const int page_size : {1, 3, 5, 16, 64, 256})
    for (const bool causal : {false, true})
      run({.config = of(causal ? kCausalRaggedPaged : kRaggedPaged),
           .batch = 5,
           .len_q = 100,
           .len_k = 700,
           .heads_q = 8,
           .layout = Layout::padded,
           .sequences = {.cu_q = {0, 100, 101, 101, 164, 165}, .used_k = {400, 650, 30, 64, 1}, .total_q = 165},
           .page_size = page_size});
}

TEST_P(FeatureEdges, OnePageForAllKeys) {
  ForwardCall call({.config = of(kPaged), .batch = 3, .len_q = 20, .len_k = 100, .page_size = 7});
  std::ranges::fill(call.page_table, call.page_table.front());
  check(call);
}

TEST_P(FeatureEdges, NoKeysNeedNoPages) {
  ForwardCall call({.config = of(kPaged), .batch = 2, .len_q = 20, .len_k = 0});
  call.upload();
  ForwardArgs args = call.args();
  args.k.data = nullptr;
  args.v.data = nullptr;
  args.pages.table = nullptr;
  Gpu::runtime().forward(call.test.config).launch(stream(), args);
  EXPECT_TRUE(call.matches_reference());
}

TEST_P(FeatureEdges, LongSequencesWithEverything) {
  const AttentionConfig config = of(kEverything);
  run({.config = config,
       .len_q = 16,
       .len_k = 131'072,
       .heads_q = 2,
       .heads_kv = 1,
       .sequences = {.used_k = {131'071}},
       .page_size = 64});
  run({.config = config, .len_q = 1, .len_k = 131'072, .heads_q = 4, .heads_kv = 1, .page_size = 16});
  run({.config = config, .len_q = 20'000, .len_k = 9, .heads_q = 2, .heads_kv = 1, .page_size = 3});
}

TEST_P(FeatureEdges, WindowsOfTheConfig) {
  for (const AttentionConfig& config : kFixedWindows) {
    run({.config = of(config), .len_q = 200, .len_k = 300});
    run({.config = of(config), .len_q = 300, .len_k = 100});
  }
}

TEST_P(FeatureEdges, HeadDimsThatTheCoverLacks) {
  for (const int dim : kHeadDims)
    run({.config = of({.head_dim_qk = dim, .head_dim_v = dim}), .len_q = 70, .len_k = 90, .layout = Layout::padded});
}

TEST_P(FeatureEdges, Float32OutputHasMoreDigits) {
  if (GetParam() == DType::f32) GTEST_SKIP() << "the output is float32 anyway";
  const ForwardCall call = run({.config = of(kFloat32Output), .len_q = 70, .len_k = 90});
  expect_more_digits(call, 70);
}

}  // namespace
}  // namespace kiln::test
