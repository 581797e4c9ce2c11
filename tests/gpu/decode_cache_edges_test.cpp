// Where caches of decode usually break: lengths, rows, padding, pages.
#include "gpu/decode_features.hpp"

#include <algorithm>
#include <vector>

namespace kiln::test {
namespace {

using namespace decode_features;

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
