// Where the features of decode usually break: new tokens, trees, caches, and what changes scores.
#include "gpu/decode_call.hpp"
#include "support/element.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>

namespace kiln::test {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr std::int32_t kLeast = std::numeric_limits<std::int32_t>::min();
constexpr std::int32_t kMost = std::numeric_limits<std::int32_t>::max();

constexpr AttentionConfig kPlain{};
constexpr AttentionConfig kCausal{.causal = true};
constexpr AttentionConfig kSinks{.sinks = true};
constexpr AttentionConfig kSliding{.window = Window::sliding};
constexpr AttentionConfig kSlidingTopLeft{.alignment = Alignment::top_left, .window = Window::sliding};
constexpr std::array kFixedWindows = {AttentionConfig{.window = Window::fixed, .window_left = 0, .window_right = 0},
                                      AttentionConfig{.window = Window::fixed, .window_left = 70},
                                      AttentionConfig{.window = Window::fixed, .window_right = 5},
                                      AttentionConfig{.window = Window::fixed, .window_left = 1, .window_right = 64},
                                      AttentionConfig{.window = Window::fixed, .window_left = 500, .window_right = 9}};
constexpr AttentionConfig kRagged{.ragged = true};
constexpr AttentionConfig kCausalRagged{.causal = true, .ragged = true};
constexpr AttentionConfig kPaged{.paged = true};
constexpr AttentionConfig kCausalRaggedPaged{.causal = true, .ragged = true, .paged = true};
constexpr AttentionConfig kAdditive{.bias = Bias::additive};
constexpr AttentionConfig kMask{.bias = Bias::mask};
constexpr AttentionConfig kSoftcap{.softcap = true};
constexpr AttentionConfig kSoftcapSinks{.softcap = true, .sinks = true};
constexpr AttentionConfig kCausalSoftcap{.causal = true, .softcap = true};
constexpr AttentionConfig kAlibi{.alibi = true};
constexpr AttentionConfig kFloat32Output{.output_f32 = true};
constexpr AttentionConfig kEverything{.causal = true,
                                      .window = Window::sliding,
                                      .softcap = true,
                                      .alibi = true,
                                      .sinks = true,
                                      .ragged = true,
                                      .paged = true};
constexpr AttentionConfig kShort{.head_dim_qk = 64, .head_dim_v = 64, .causal = true, .ragged = true};
constexpr std::array kAlibis = {kAlibi, AttentionConfig{.causal = true, .alibi = true},
                                AttentionConfig{.alignment = Alignment::top_left, .alibi = true},
                                AttentionConfig{.causal = true, .alignment = Alignment::top_left, .alibi = true}};
constexpr std::array kHeadDims = {16, 48, 56, 88, 104, 120, 136, 144, 176, 200, 240};
constexpr std::array kRows = {16, 32, 64};

/// How keys are shared out: over the whole GPU, in so many parts, in parts of a size.
struct Split {
  int num = 0;
  int size = 0;
};
constexpr std::array<Split, 4> kSplits = {{{}, {.num = 1}, {.num = 5}, {.size = 100}}};

AttentionConfig with_rows(AttentionConfig config, int rows) {
  config.decode_rows = rows;
  return config;
}

/// Every config of these tests, so that they are compiled at once.
std::vector<KernelRequest> kernels(DType dtype) {
  std::vector<AttentionConfig> configs = {kPlain,        kCausal,        kSinks,         kSliding,  kSlidingTopLeft,
                                          kRagged,       kPaged,         kMask,          kAdditive, kSoftcap,
                                          kSoftcapSinks, kCausalSoftcap, kFloat32Output, kShort};
  configs.insert(configs.end(), kAlibis.begin(), kAlibis.end());
  configs.insert(configs.end(), kFixedWindows.begin(), kFixedWindows.end());
  for (const int rows : kRows)
    for (const AttentionConfig& config : {kCausal, kCausalRagged, kCausalRaggedPaged, kEverything})
      configs.push_back(with_rows(config, rows));
  for (const int dim : kHeadDims) configs.push_back({.head_dim_qk = dim, .head_dim_v = dim});
  std::vector<KernelRequest> requests;
  for (AttentionConfig& config : configs) {
    config.dtype = dtype;
    requests.push_back({KernelKind::decode, config});
  }
  return requests;
}

class DecodeFeatures : public GpuTest, public ::testing::WithParamInterface<DType> {
 protected:
  static void SetUpTestSuite() {
    const auto* suite = ::testing::UnitTest::GetInstance()->current_test_suite();
    constexpr int kFew = 10;
    if (!Gpu::missing().empty() || suite->test_to_run_count() < kFew) return;
    std::vector<KernelRequest> all;
    for (const DType dtype : {DType::bf16, DType::f16})
      for (const KernelRequest& request : kernels(dtype)) all.push_back(request);
    prepare_for_suite(all);
    compiled_ = Gpu::runtime().stats().compiles;
  }
  static void TearDownTestSuite() {
    if (!compiled_) return;
    EXPECT_EQ(Gpu::runtime().stats().compiles, *compiled_) << "kernels() lacks one";
  }

  /// The config with the type that is tested.
  static AttentionConfig of(AttentionConfig config) {
    config.dtype = GetParam();
    return config;
  }
  void check(DecodeCall& call) const {
    call.upload();
    call.launch(stream());
    EXPECT_TRUE(call.matches_reference()) << description(call.test);
  }
  DecodeCall run(const DecodeCase& test) const {
    DecodeCall call(test);
    check(call);
    return call;
  }
  /// The same with every way to share out the keys.
  void run_split(DecodeCase test) const {
    DecodeCall call(test);
    call.upload();
    const Judge judge(call.problem());
    for (const auto& [num, size] : kSplits) {
      call.test.num_splits = num;
      call.test.split_size = size;
      call.set_lists(call.test);
      call.launch(stream());
      EXPECT_TRUE(call.matches(judge)) << description(call.test);
    }
  }
  /// Row i of a sequence is 0 for every head, with this LSE.
  static void expect_empty_row(const DecodeCall& call, int b, int i, float lse) {
    const std::vector<float> all = call.lse.download();
    const DecodeCase& test = call.test;
    for (int head = 0; head < test.heads_q; ++head) {
      ASSERT_EQ(all[static_cast<std::size_t>((b * test.heads_q + head) * test.len_q + i)], lse) << b << " " << head;
      for (int c = 0; c < test.config.head_dim_v; ++c) ASSERT_EQ(call.out.get(b, i, head, c), 0) << b << " " << head;
    }
  }

 private:
  static inline std::optional<std::uint64_t> compiled_;
};

INSTANTIATE_TEST_SUITE_P(Types, DecodeFeatures, ::testing::Values(DType::bf16, DType::f16),
                         [](const auto& test) { return std::string(name_of(test.param)); });

TEST_P(DecodeFeatures, LengthsAroundTheTilesAndOutOfRange) {
  const std::vector<std::int32_t> lengths = {0,   1,   15,  16,  17,  31,  32,  33,  63,    64,    65,
                                             95,  96,  97,  127, 128, 129, 191, 192, 193,   255,   256,
                                             257, 319, 320, 321, 499, 500, 501, -1,  kMost, kLeast};
  for (const int len_q : {1, 5})
    for (const bool paged : {false, true})
      run_split({.config = of(paged ? kPaged : kCausal), .len_q = len_q, .max_len_k = 500, .lengths = lengths});
}

TEST_P(DecodeFeatures, AllSequencesEmpty) {
  for (const bool paged : {false, true}) {
    const DecodeCase test{
        .config = of(paged ? kPaged : kPlain), .len_q = 3, .max_len_k = 700, .lengths = {0, 0, -4, 0, 0}};
    run_split(test);
    const DecodeCall call = run(test);
    for (int i = 0; i < 3; ++i) expect_empty_row(call, 4, i, -kInf);
  }
}

TEST_P(DecodeFeatures, NewTokensAloneInTheCache) {
  // As many keys as queries, or fewer: of a causal prompt the first rows then see nothing.
  run_split({.config = of(kCausal), .len_q = 20, .max_len_k = 300, .lengths = {20, 21, 19, 7, 1, 0}});
  const DecodeCall call = run({.config = of(kCausal), .len_q = 20, .max_len_k = 300, .lengths = {300, 7}});
  for (int i = 0; i < 13; ++i) expect_empty_row(call, 1, i, -kInf);
  EXPECT_TRUE(std::isfinite(call.lse.download()[8 * 20 + 13]));
}

TEST_P(DecodeFeatures, WindowsThatSeeNothing) {
  // On either side of the keys, and a window on the left of it all.
  for (const auto& [left, right] : {std::pair{0, 0}, {0, -1}, {-1, 0}, {3, 2}, {-1, 100}, {200, -1}, {64, 0}}) {
    DecodeCase test{.config = of(kSlidingTopLeft), .len_q = 17, .max_len_k = 300, .lengths = {300, 9, 130, 0}};
    test.window_left = left;
    test.window_right = right;
    run_split(test);
    test.config = of(kSliding);
    run_split(test);
  }
}

TEST_P(DecodeFeatures, WindowsOfTheConfig) {
  for (const AttentionConfig& config : kFixedWindows)
    run_split({.config = of(config), .len_q = 9, .max_len_k = 400, .lengths = {400, 3, 128}});
}

TEST_P(DecodeFeatures, EveryRatioOfHeadsInTilesOfEverySize) {
  for (const int rows : kRows)
    for (const int group : {1, 2, 3, 4, 5, 7, 8, 12, 16, 71})
      for (const int len_q : {1, 3, 16})
        run({.config = of(with_rows(kCausal, rows)),
             .len_q = len_q,
             .max_len_k = 150,
             .heads_q = 2 * group,
             .heads_kv = 2,
             .lengths = {150, 37}});
}

TEST_P(DecodeFeatures, HeadDimsThatTheCoverLacks) {
  for (const int dim : kHeadDims)
    run({.config = of({.head_dim_qk = dim, .head_dim_v = dim}),
         .len_q = 3,
         .max_len_k = 190,
         .lengths = {190, 5, 64},
         .layout = Layout::padded});
}

TEST_P(DecodeFeatures, PrefillAndDecodeInOneCall) {
  for (const int rows : kRows)
    for (const bool paged : {false, true})
      for (const Split& split : kSplits)
        run({.config = of(with_rows(paged ? kCausalRaggedPaged : kCausalRagged, rows)),
             .len_q = 300,
             .max_len_k = 700,
             .lengths = {650, 700, 30, 64, 1, 300, 0},
             .num_splits = split.num,
             .split_size = split.size,
             .tokens = {.cu = {0, 1, 301, 302, 310, 311, 611, 612}, .total = 615}});
}

TEST_P(DecodeFeatures, ThousandsOfShortSequences) {
  constexpr int kBatch = 3000;
  NewTokens tokens{.cu = {0}};
  std::vector<std::int32_t> lengths;
  for (int b = 0; b < kBatch; ++b) {
    tokens.cu.push_back(tokens.cu.back() + b % 4);
    lengths.push_back(b % 7);
  }
  tokens.total = tokens.cu.back();
  for (const Split& split : kSplits)
    run({.config = of(kShort),
         .len_q = 3,
         .max_len_k = 6,
         .heads_q = 4,
         .heads_kv = 2,
         .lengths = lengths,
         .num_splits = split.num,
         .split_size = split.size,
         .tokens = tokens});
}

TEST_P(DecodeFeatures, NoSequenceHasNewTokens) {
  run({.config = of(kRagged), .len_q = 4, .max_len_k = 90, .lengths = {90, 5}, .tokens = {.used = {0, -3}}});
  run({.config = of(kRagged),
       .len_q = 4,
       .max_len_k = 90,
       .lengths = {90, 5},
       .tokens = {.cu = {3, 3, 3}, .total = 9}});
  run({.config = of(kRagged), .len_q = 4, .max_len_k = 90, .lengths = {90, 5}, .tokens = {.cu = {0, 0, 0}}});
  run({.config = of(kRagged), .len_q = 4, .max_len_k = 90, .lengths = {90, 5}, .tokens = {.used = {kMost, kLeast}}});
}

TEST_P(DecodeFeatures, AChainIsATreeLikeAnyOther) {
  // Each token sees itself and all before it: the bits of a causal call.
  DecodeCase test{.config = of(kCausal), .len_q = 40, .max_len_k = 300, .lengths = {300, 41, 40}, .num_splits = 3};
  DecodeCall call(test);
  check(call);
  const auto causal = call.out.elements();
  call.test.tree = Tree::shared;
  call.tree.clear();
  constexpr int kWords = 3;  // two that hold bits, one between rows
  for (int i = 0; i < 40; ++i) {
    const std::uint64_t seen = (std::uint64_t{2} << i) - 1;
    call.tree.push_back(static_cast<std::uint32_t>(seen));
    call.tree.push_back(static_cast<std::uint32_t>(seen >> 32U));
    call.tree.push_back(0xffff'ffffU);
  }
  ASSERT_EQ(call.args().tree.row_stride, kWords);
  check(call);
  EXPECT_TRUE(call.out.elements() == causal);
  call.test.config = of(kPlain);
  check(call);
  EXPECT_TRUE(call.out.elements() == causal);
}

TEST_P(DecodeFeatures, TreesOfEveryShape) {
  for (const Tree tree : {Tree::branches, Tree::shared, Tree::bits})
    for (const int len_q : {1, 2, 16, 31, 32, 33, 64, 65})
      for (const bool paged : {false, true})
        run_split({.config = of(paged ? kPaged : kCausal),
                   .len_q = len_q,
                   .max_len_k = 200,
                   .heads_q = 6,
                   .lengths = {200, 65, 33, 16, 1, 0},
                   .tree = tree,
                   .page_size = 5});
}

TEST_P(DecodeFeatures, ATreeThatHidesEverything) {
  DecodeCall call({.config = of(kPlain), .len_q = 5, .max_len_k = 90, .lengths = {5, 90}, .tree = Tree::bits});
  std::ranges::fill(call.tree, 0U);
  check(call);
  for (int i = 0; i < 5; ++i) expect_empty_row(call, 0, i, -kInf);
}

TEST_P(DecodeFeatures, TreesOfRaggedTokens) {
  run_split({.config = of(kRagged),
             .len_q = 40,
             .max_len_k = 200,
             .lengths = {200, 40, 30, 100, 64},
             .tree = Tree::branches,
             .tokens = {.cu = {0, 40, 41, 74, 74, 80}, .used = {40, 1, 20, 7, 6}, .total = 81}});
}

TEST_P(DecodeFeatures, CacheRowsInAnyOrder) {
  for (const bool paged : {false, true}) {
    const AttentionConfig config = of(paged ? kPaged : kPlain);
    const std::vector<std::int32_t> lengths = {300, 7, 128, 299, 0, 64};
    run_split({.config = config, .len_q = 2, .max_len_k = 300, .lengths = lengths, .cache_rows = {5, 4, 3, 2, 1, 0}});
    run_split({.config = config, .len_q = 2, .max_len_k = 300, .lengths = lengths, .cache_rows = {7, 7, 7, 0, 7, 7}});
    run_split(
        {.config = config, .len_q = 2, .max_len_k = 300, .lengths = lengths, .cache_rows = {-1, 0, kLeast, 2, -1, 3}});
    run_split(
        {.config = config, .len_q = 2, .max_len_k = 300, .lengths = lengths, .cache_rows = {-1, -1, -1, -1, -1, -1}});
  }
}

TEST_P(DecodeFeatures, LeftPaddingOfAnyLength) {
  for (const bool paged : {false, true})
    run_split({.config = of(paged ? kPaged : kCausal),
               .len_q = 3,
               .max_len_k = 300,
               .lengths = {300, 300, 300, 300, 64, 65, 1, 0, 200},
               .left_padding = {0, 1, 63, 299, 64, 64, 1, 5, -3},
               .page_size = 16});
}

TEST_P(DecodeFeatures, PagesOfEverySize) {
  for (const int page_size : {1, 2, 3, 5, 7, 16, 64, 100, 256, 1024})
    for (const int len_q : {1, 6}) {
      run_split({.config = of(kPaged),
                 .len_q = len_q,
                 .max_len_k = 600,
                 .lengths = {600, 599, 0, 64, 257, 1},
                 .layout = Layout::padded,
                 .page_size = page_size});
      // Four pages to each; the second has a last one without a key, the third one too many, the last one none.
      run_split({.config = of(kPaged),
                 .len_q = len_q,
                 .max_len_k = 600,
                 .lengths = {600, 599, 3 * page_size, 64, 600},
                 .page_size = page_size,
                 .page_lists = {.indptr = {2, 6, 10, 14, 18, 18},
                                .last_page_len = {1, 0, page_size + 5, page_size, page_size}}});
    }
}

TEST_P(DecodeFeatures, ListsOfFewerPagesThanTheLengthsNeed) {
  // Nothing behind a list is read, whatever the lengths say, and with none given.
  for (const bool pass_lengths : {false, true})
    run_split({.config = of(kPaged),
               .len_q = 2,
               .max_len_k = 5000,
               .lengths = {5000, kMost, 4096, 5000},
               .pass_lengths = pass_lengths,
               .page_size = 16,
               .page_lists = {.indptr = {0, 3, 3, 4, 40}, .last_page_len = {16, 16, 1, 15}}});
}

TEST_P(DecodeFeatures, OnePageForAllKeys) {
  DecodeCall call({.config = of(kPaged), .len_q = 4, .max_len_k = 100, .lengths = {100, 98, 64}, .page_size = 7});
  const std::int32_t page = call.page_table.front();
  for (std::int32_t& entry : call.page_table)
    if (entry != kNoPage) entry = page;
  check(call);
}

TEST_P(DecodeFeatures, NoKeysNeedNoPages) {
  DecodeCall call({.config = of(kPaged), .max_len_k = 0, .lengths = {0, 0}});
  call.upload();
  DecodeArgs args = call.args();
  args.k_cache.data = nullptr;
  args.v_cache.data = nullptr;
  args.pages.table = nullptr;
  const DecodeKernel kernel = Gpu::runtime().decode(call.test.config);
  const cuda::DeviceBuffer workspace = make_workspace(kernel, args);
  kernel.launch(stream(), args);
  EXPECT_TRUE(call.matches_reference());
}

TEST_P(DecodeFeatures, KeysAndValuesSideBySideInOneCache) {
  // [batch, length, 2 · heads, dim], a slice in the middle of a longer cache: neither is a tensor of its own.
  constexpr int kLength = 300;
  constexpr int kBefore = 20;  // rows that are another's
  DecodeCall call({.config = of(kCausal), .len_q = 3, .max_len_k = kLength, .lengths = {300, 77}, .num_splits = 4});
  Tensor cache(GetParam(), Layout::padded, {2, kBefore + kLength + 50, 4, 128});
  cache.fill_random(5);
  cache.upload();
  call.upload();
  DecodeArgs args = call.args();
  Problem truth = call.problem();
  const Strides& strides = cache.strides();
  const std::int64_t keys = kBefore * strides.row;
  const std::int64_t values = keys + 2 * strides.head;
  args.k_cache = {static_cast<const std::uint16_t*>(cache.input().data) + keys, strides};
  args.v_cache = {static_cast<const std::uint16_t*>(cache.input().data) + values, strides};
  truth.k = {static_cast<const std::uint16_t*>(cache.view().data) + keys, strides};
  truth.v = {static_cast<const std::uint16_t*>(cache.view().data) + values, strides};
  const DecodeKernel kernel = Gpu::runtime().decode(call.test.config);
  const cuda::DeviceBuffer workspace = make_workspace(kernel, args);
  kernel.launch(stream(), args);
  const Judge judge(truth);
  synchronize();
  call.out.download();
  EXPECT_TRUE(output_matches(truth, call.out.view(), judge, repro()));
  EXPECT_TRUE(lse_matches(truth, call.lse.download(), judge, repro()));
}

TEST_P(DecodeFeatures, AHugeNegativeScoreInEveryTileGivesTheMeanExactly) {
  // All keys score −524288, so each weighs the same: values of 1 must come out as 1, however they are split.
  for (const auto& [num, size] : kSplits) {
    DecodeCall call({.config = of(kPlain),
                     .len_q = 5,
                     .max_len_k = 700,
                     .lengths = {700, 1},
                     .num_splits = num,
                     .split_size = size,
                     .scale = 1.0F});
    call.q.fill(1024.0F / 128);
    call.k.fill(-512.0F);
    call.v.fill(1);
    call.upload();
    call.launch(stream());
    synchronize();
    call.out.download();
    for (int b = 0; b < 2; ++b)
      for (int i = 0; i < 5; ++i)
        for (int head = 0; head < 8; ++head)
          for (int c = 0; c < 128; ++c) ASSERT_EQ(call.out.get(b, i, head, c), 1) << num << " " << size;
  }
}

TEST_P(DecodeFeatures, NegativeAndZeroScales) {
  for (const float scale : {-0.1F, 0.0F, 2.0F, 1e-6F})
    run_split({.config = of(kCausal), .len_q = 4, .max_len_k = 300, .lengths = {300, 70}, .scale = scale});
}

TEST_P(DecodeFeatures, SinksOfAnySize) {
  for (const auto& [num, size] : kSplits)
    for (const float scale : {0.1F, 2.0F}) {
      DecodeCall call({.config = of(kSinks),
                       .max_len_k = 400,
                       .heads_q = 6,
                       .heads_kv = 6,
                       .lengths = {400, 0, 3},
                       .num_splits = num,
                       .split_size = size,
                       .scale = scale});
      call.sinks = {-kInf, -1e30F, -30000, 0, 30000, 1e30F};
      check(call);
      const std::vector<float> lse = call.lse.download();
      EXPECT_EQ(lse[6], -kInf) << scale;
      for (std::size_t head = 1; head < 6; ++head)
        EXPECT_NEAR(lse[6 + head], call.sinks[head], std::abs(call.sinks[head]) * 1e-6) << scale;
      for (int c = 0; c < 128; ++c) EXPECT_EQ(call.out.get(0, 0, 5, c), 0) << "all but nothing is left for the keys";
    }
}

TEST_P(DecodeFeatures, SinksOfGroupedHeadsAndChangedScores) {
  for (const bool softcap : {false, true})
    for (const float scale : {-0.1F, 0.0F, 0.1F})
      run_split({.config = of(softcap ? kSoftcapSinks : kSinks),
                 .len_q = 3,
                 .max_len_k = 300,
                 .heads_q = 10,
                 .heads_kv = 2,
                 .lengths = {300, 33, 0},
                 .scale = scale});
}

TEST_P(DecodeFeatures, SoftcapOfHugeScores) {
  for (const float magnitude : {64.0F, 1024.0F}) {
    DecodeCall call({.config = of(kSoftcap),
                     .len_q = 2,
                     .max_len_k = 200,
                     .heads_q = 2,
                     .lengths = {200},
                     .scale = 1.0F,
                     .softcap = 2});
    call.q.fill(magnitude / 32);
    for (int head = 0; head < 2; ++head)
      for (int j = 0; j < 200; ++j)
        for (int c = 0; c < 128; ++c) call.k.put(0, j, head, c, j % 3 == 0 ? magnitude : -magnitude);
    check(call);
  }
}

TEST_P(DecodeFeatures, SoftcapNeverShowsWhatIsHidden) {
  run_split({.config = of(kCausalSoftcap), .len_q = 20, .max_len_k = 90, .lengths = {90, 20, 7}, .softcap = 0.5F});
  run_split({.config = of(kSoftcap),
             .len_q = 20,
             .max_len_k = 90,
             .lengths = {90, 20, 7},
             .softcap = 0.5F,
             .tree = Tree::branches});
}

TEST_P(DecodeFeatures, AlibiBeyondEitherEnd) {
  for (const AttentionConfig& config : kAlibis)
    for (const int len_q : {1, 20}) {
      DecodeCall call({.config = of(config),
                       .len_q = len_q,
                       .max_len_k = 300,
                       .heads_q = 2,
                       .lengths = {300, 11},
                       .num_splits = 3,
                       .slopes_per_sequence = true});
      call.alibi_slopes = {0, 0.7F, 0.01F, -0.02F};
      check(call);
    }
}

TEST_P(DecodeFeatures, AlibiCountsFromBehindThePadding) {
  run_split({.config = of(kAlibi), .len_q = 3, .max_len_k = 300, .lengths = {300, 200}, .left_padding = {37, 130}});
}

TEST_P(DecodeFeatures, AlibiSoSteepThatOneKeyRemains) {
  DecodeCall call(
      {.config = of(kAlibi), .len_q = 4, .max_len_k = 200, .heads_q = 2, .lengths = {200}, .num_splits = 3});
  call.alibi_slopes = {1e4F, 1e6F};
  check(call);
}

TEST_P(DecodeFeatures, RowsThatABiasHidesAreZeroWithLseMinusInfinity) {
  for (const auto& [num, size] : kSplits)
    for (const bool mask : {false, true}) {
      DecodeCall call({.config = of(mask ? kMask : kAdditive),
                       .len_q = 7,
                       .max_len_k = 350,
                       .lengths = {350, 90},
                       .num_splits = num,
                       .split_size = size});
      for (int b = 0; b < 2; ++b)
        for (int head = 0; head < 8; ++head)
          for (int j = 0; j < 350; ++j) call.bias.put(b, head, 3, j, mask ? 0 : -kInf);
      check(call);
      for (int b = 0; b < 2; ++b) expect_empty_row(call, b, 3, -kInf);
    }
}

TEST_P(DecodeFeatures, AMaskMayShowOneKeyInTheLastTile) {
  DecodeCall call({.config = of(kMask), .len_q = 3, .max_len_k = 700, .lengths = {700}, .num_splits = 6});
  for (int head = 0; head < 8; ++head)
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j < 700; ++j) call.bias.put(0, head, i, j, j == 699 ? 128 : 0);
  check(call);
}

TEST_P(DecodeFeatures, LseToBase2IsTheNaturalOneInOtherUnits) {
  DecodeCase test{.config = of(kSinks), .len_q = 3, .max_len_k = 300, .lengths = {300, 0, 17}, .num_splits = 4};
  const std::vector<float> natural = run(test).lse.download();
  test.lse_base2 = true;
  EXPECT_NE(natural, run(test).lse.download());
}

TEST_P(DecodeFeatures, Float32OutputHasMoreDigits) {
  const DecodeCall call =
      run({.config = of(kFloat32Output), .len_q = 5, .max_len_k = 300, .lengths = {300}, .num_splits = 3});
  int finer = 0;
  for (int i = 0; i < 5; ++i)
    for (int c = 0; c < 128; ++c) {
      const float value = call.out.get(0, i, 0, c);
      if (value != round_16(GetParam(), value)) ++finer;
    }
  EXPECT_GT(finer, 5 * 128 / 2);
}

TEST_P(DecodeFeatures, LongCachesWithEverything) {
  for (const int rows : kRows) {
    const AttentionConfig config = of(with_rows(kEverything, rows));
    run({.config = config,
         .len_q = 16,
         .max_len_k = 131'072,
         .heads_q = 2,
         .heads_kv = 1,
         .lengths = {131'071},
         .window_left = 100'000,
         .page_size = 64});
    run({.config = config,
         .max_len_k = 131'072,
         .heads_q = 4,
         .heads_kv = 1,
         .lengths = {131'072, 77, 5000},
         .split_size = 4096,
         .left_padding = {1000, 3, 0},
         .page_size = 16});
  }
}

}  // namespace
}  // namespace kiln::test
