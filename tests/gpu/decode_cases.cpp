#include "gpu/decode_cases.hpp"

#include "gpu/configs.hpp"
#include "gpu/geometry.hpp"
#include "support/pairwise.hpp"
#include "support/random.hpp"

#include <algorithm>
#include <array>
#include <tuple>
#include <utility>

namespace kiln::test {
namespace {

constexpr std::array<Types, 4> kDecodeTypes = {{
    {.dtype = DType::bf16},
    {.dtype = DType::f16},
    {.dtype = DType::bf16, .output_f32 = true},
    {.dtype = DType::f16, .output_f32 = true},
}};
constexpr std::array kDecodeRows = {16, 32, 64};

/// The longest cache: around the tiles' sizes, primes, long, and next to nothing.
constexpr std::array kMaxLengths = {1, 7, 63, 64, 65, 113, 128, 129, 203, 256, 600, 1025, 2047, 4099};
/// The most new tokens, from one to more than there are in some caches.
constexpr std::array kNewTokens = {1, 2, 3, 4, 5, 7, 8, 13, 16, 17, 20, 33};

constexpr std::array kSides = {-1, 0, 1, 7, 15, 63, 64, 100, 1000};
constexpr std::array kTrees = {Tree::none, Tree::branches, Tree::shared, Tree::bits};
constexpr int kLengthBits = 10;

struct Split {
  int num = 0;
  int size = 0;
};
constexpr std::array<Split, 10> kSplits = {{{},
                                            {.num = 1},
                                            {.num = 2},
                                            {.num = 3},
                                            {.num = 7},
                                            {.num = 64},
                                            {.num = 300},
                                            {.size = 1},
                                            {.size = 100},
                                            {.size = 512}}};

/// Which lists of new tokens a call has.
struct Queries {
  bool ragged = false;
  bool cu = false;
  bool used = false;
};
constexpr std::array<Queries, 5> kQueries = {{
    {},
    {.ragged = true},
    {.ragged = true, .cu = true},
    {.ragged = true, .used = true},
    {.ragged = true, .cu = true, .used = true},
}};

/// Which lists say where a sequence's keys lie. Lists of pages are for caches in pages.
struct Caching {
  bool lengths = false;
  bool rows = false;
  bool padding = false;
  bool page_lists = false;
};
constexpr std::array<Caching, 7> kCaching = {{
    {},
    {.lengths = true},
    {.lengths = true, .rows = true},
    {.lengths = true, .padding = true},
    {.lengths = true, .page_lists = true},
    {.padding = true, .page_lists = true},
    {.lengths = true, .rows = true, .padding = true},
}};

class DecodeGeometry : public Geometry {
 public:
  using Geometry::Geometry;

  /// All but heads, layout, splits, tree, the most that lengths may be, and config.
  void finish(DecodeCase& test, const Queries& queries, const Caching& caching) {
    int batch = one_in(60) ? 0 : 1 + below(4);
    // Now and then more than a warp has lanes: it looks for a block's own among them.
    if (one_in(12)) {
      batch = 31 + below(40);
      test.max_len_k = std::min(test.max_len_k, 90);
    }
    limit(test, batch);
    draw_features(test, test.max_len_k, kSides);
    make_cache(test, batch, caching);
    make_tokens(test, queries);
  }

 private:
  /// At least two sequences, but for that shorter caches.
  static void limit(DecodeCase& test, int& batch) {
    constexpr std::int64_t kMostWork = 60'000'000;
    while (limit_work(test, batch, 2, test.max_len_k, kMostWork) > kMostWork && test.max_len_k > 1)
      test.max_len_k = test.max_len_k * 3 / 4;
  }

  /// Of one sequence: nothing, one, all, or any number; a few say more, or less than nothing.
  int rows(int most) {
    switch (below(7)) {
      case 0:
        return one_in(2) ? 0 : std::min(most, 1);
      case 1:
        return one_in(3) ? most + 3 : most;
      case 2:
        return one_in(4) ? out_of_range() : most;
      default:
        return below(most + 1);
    }
  }

  void make_cache(DecodeCase& test, int batch, const Caching& caching) {
    test.lengths.clear();
    test.pass_lengths = caching.lengths;
    for (int b = 0; b < batch; ++b) test.lengths.push_back(rows(test.max_len_k));
    if (batch == 0) return;
    const bool lists = test.config.paged && caching.page_lists;
    for (int b = 0; b < batch; ++b) {
      // Rows in any order, some twice, and some sequences without one. Lists of pages have none to choose.
      if (caching.rows) test.cache_rows.push_back(one_in(8) ? -1 - below(2) : below(batch + 2));
      if (caching.padding) test.left_padding.push_back(padding(test.max_len_k));
    }
    if (lists) make_page_lists(test);
  }

  int padding(int max_len_k) {
    switch (below(5)) {
      case 0:
        return -below(2);
      case 1:
        return below(max_len_k + 2);
      default:
        return below(std::min(max_len_k, 40) + 1);
    }
  }

  /// As many pages as keys need, or fewer, or more.
  void make_page_lists(DecodeCase& test) {
    PageLists& lists = test.page_lists;
    lists.indptr = {one_in(3) ? 4 : 0};
    const int most = (test.max_len_k + test.page_size - 1) / test.page_size;
    for (int b = 0; b < test.batch(); ++b) {
      lists.indptr.push_back(lists.indptr.back() + (one_in(3) ? below(most + 3) : most));
      lists.last_page_len.push_back(one_in(8) ? test.page_size + 9 : one_in(8) ? 0 : 1 + below(test.page_size));
    }
  }

  void make_tokens(DecodeCase& test, const Queries& queries) {
    std::vector<int> counts;
    for (int b = 0; b < test.batch(); ++b)
      counts.push_back(one_in(6) ? 0 : one_in(3) ? test.len_q : below(test.len_q + 1));
    if (queries.cu) {
      test.tokens.cu = sums(counts);
      test.tokens.total = total(test.tokens.cu);
    }
    if (queries.used)
      for (const int count : counts) test.tokens.used.push_back(one_in(8) ? out_of_range() : count);
  }
};

/// What a kernel is, and what a call of it brings, by the indices of the lists.
struct ConfigChoice {
  int types, dims, rows, mask, softcap, alibi, sinks, bias, queries, pages;
};

/// (q·k, v): those that models have, the least, the most, and odd pairs.
constexpr std::array<std::pair<int, int>, 16> kDecodeHeadDims = {{{128, 128},
                                                                  {64, 64},
                                                                  {256, 256},
                                                                  {192, 128},
                                                                  {96, 96},
                                                                  {80, 80},
                                                                  {72, 72},
                                                                  {40, 40},
                                                                  {8, 8},
                                                                  {24, 136},
                                                                  {112, 112},
                                                                  {160, 160},
                                                                  {224, 224},
                                                                  {128, 64},
                                                                  {64, 128},
                                                                  {248, 16}}};

AttentionConfig config_of(const ConfigChoice& choice) {
  const auto at = [](int index) { return static_cast<std::size_t>(index); };
  const Types& types = kDecodeTypes[at(choice.types)];
  AttentionConfig config = make_config(types.dtype, kDecodeHeadDims[at(choice.dims)], kForwardMasks[at(choice.mask)]);
  config.decode_rows = kDecodeRows[at(choice.rows)];
  config.softcap = choice.softcap != 0;
  config.alibi = choice.alibi != 0;
  config.sinks = choice.sinks != 0;
  config.bias = kBiases[at(choice.bias)];
  config.ragged = kQueries[at(choice.queries)].ragged;
  config.paged = kPageSizes[at(choice.pages)] > 0;
  config.output_f32 = types.output_f32;
  return config;
}

constexpr std::uint64_t kSeed = 21;

void put(DecodeCase& test, const Split& split) {
  test.num_splits = split.num;
  test.split_size = split.size;
}

/// A call of a kernel, of which all that is no part of the kernel is drawn.
DecodeCase draw_case(const AttentionConfig& kernel, std::uint64_t seed) {
  DecodeGeometry geometry(seed);
  DecodeCase test{.config = kernel, .seed = seed};
  AttentionConfig& config = test.config;
  const Mask mask = geometry.pick(kForwardMasks);
  config.causal = mask.causal;
  config.alignment = mask.alignment;
  config.window = mask.window;
  config.window_left = mask.left;
  config.window_right = mask.right;
  config.sinks = geometry.one_in(3);
  const Queries queries = geometry.pick(kQueries);
  config.ragged = queries.ragged;
  test.len_q = geometry.one_in(3) ? 1 : 1 + geometry.below(20);
  test.max_len_k = geometry.length(kLengthBits);
  test.heads_kv = 1 + geometry.below(4);
  test.heads_q = test.heads_kv * (1 + geometry.below(geometry.one_in(4) ? 20 : 8));
  test.layout = geometry.pick(kLayouts);
  test.tree = geometry.one_in(2) ? Tree::none : geometry.pick(kTrees);
  put(test, geometry.one_in(3)   ? Split{.num = 1 + geometry.below(40)}
            : geometry.one_in(2) ? Split{.size = 1 + geometry.below(700)}
                                 : Split{});
  if (config.paged) test.page_size = geometry.page_size();
  geometry.finish(test, queries, geometry.pick(kCaching));
  return test;
}

}  // namespace

std::vector<DecodeCase> pairwise_decode_cases() {
  std::vector<DecodeCase> cases;
  std::uint64_t seed = kSeed;
  for (const auto& row :
       pairwise_cover({count_of(kDecodeTypes), count_of(kDecodeHeadDims), count_of(kDecodeRows),
                       count_of(kForwardMasks), kYesOrNo, kYesOrNo, kYesOrNo, count_of(kBiases), count_of(kQueries),
                       count_of(kPageSizes), count_of(kCaching), count_of(kHeads), count_of(kMaxLengths),
                       count_of(kNewTokens), count_of(kTrees), count_of(kLayouts), count_of(kSplits)},
                      kSeed)) {
    const auto at = [&](std::size_t dimension) { return static_cast<std::size_t>(row[dimension]); };
    DecodeCase test{.seed = ++seed};
    test.config = config_of({row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7], row[8], row[9]});
    if (test.config.paged) test.page_size = kPageSizes[at(9)];
    std::tie(test.heads_q, test.heads_kv) = kHeads[at(11)];
    test.max_len_k = kMaxLengths[at(12)];
    test.len_q = kNewTokens[at(13)];
    test.tree = kTrees[at(14)];
    test.layout = kLayouts[at(15)];
    put(test, kSplits[at(16)]);
    DecodeGeometry(seed).finish(test, kQueries[at(8)], kCaching[at(10)]);
    cases.push_back(std::move(test));
  }
  return cases;
}

std::vector<DecodeCase> random_decode_cases() {
  constexpr int kPerKernel = 2;
  std::vector<DecodeCase> cases;
  std::uint64_t seed = kSeed * 1000;
  for (const KernelRequest& kernel : kernels_of(pairwise_decode_cases()))
    for (int i = 0; i < kPerKernel; ++i) cases.push_back(draw_case(kernel.config, ++seed));
  return cases;
}

DecodeCase random_decode_case(std::uint64_t seed) {
  Geometry draw(seed / kSeedsOfAKernel);
  AttentionConfig config = config_of({.types = draw.below(count_of(kDecodeTypes)),
                                      .dims = 0,
                                      .rows = draw.below(count_of(kDecodeRows)),
                                      .mask = 0,
                                      .softcap = draw.below(kYesOrNo),
                                      .alibi = draw.below(kYesOrNo),
                                      .sinks = 0,
                                      .bias = draw.below(count_of(kBiases)),
                                      .queries = 0,
                                      .pages = draw.below(kYesOrNo)});
  draw.draw_head_dims(config);
  return draw_case(config, seed);
}

std::vector<KernelRequest> kernels_of(const std::vector<DecodeCase>& cases) {
  return distinct_kernels(cases, KernelKind::decode);
}

std::vector<KernelRequest> requests_of(const std::vector<DecodeCase>& cases) {
  return distinct_requests(cases, KernelKind::decode);
}

}  // namespace kiln::test
