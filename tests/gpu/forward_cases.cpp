#include "gpu/forward_cases.hpp"

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

/// (queries, keys): around the tiles' sizes, primes, much longer on either side, and nothing at all.
constexpr std::array<std::pair<int, int>, 20> kLengths = {{{1, 1},     {0, 5},     {5, 0},      {1, 64},    {1, 1025},
                                                           {16, 16},   {17, 15},   {31, 33},    {63, 64},   {65, 63},
                                                           {113, 203}, {127, 128}, {128, 127},  {129, 129}, {203, 1023},
                                                           {3, 239},   {239, 799}, {1025, 257}, {16, 4099}, {799, 31}}};

constexpr std::array kSides = {-1, 0, 1, 7, 63, 64, 65, 130, 500};
constexpr int kLengthBits = 9;

/// Which lists of lengths a call has.
struct Addressing {
  bool ragged = false;
  bool cu_q = false;
  bool cu_k = false;
  bool used_q = false;
  bool used_k = false;
};
constexpr std::array<Addressing, 9> kAddressing = {{
    {},
    {.ragged = true},
    {.ragged = true, .cu_q = true, .cu_k = true},
    {.ragged = true, .cu_q = true, .cu_k = true, .used_q = true, .used_k = true},
    {.ragged = true, .used_q = true, .used_k = true},
    {.ragged = true, .used_k = true},
    {.ragged = true, .cu_q = true, .used_k = true},  // chunked prefill
    {.ragged = true, .cu_q = true},
    {.ragged = true, .cu_k = true, .used_q = true},
}};

class ForwardGeometry : public Geometry {
 public:
  using Geometry::Geometry;

  /// All but lengths, heads, layout and config.
  void finish(ForwardCase& test, const Addressing& addressing) {
    test.batch = one_in(50) ? 0 : 1 + below(3);
    if (addressing.ragged) make_ragged(test);
    constexpr std::int64_t kMostWork = 300'000'000;
    limit_work(test, test.batch, 1, test.len_k, kMostWork);
    draw_features(test, test.len_k, kSides);
    if (addressing.ragged) make_sequences(test, addressing);
  }

 private:
  /// More sequences, now and then more than a warp has lanes: it looks for a block's own among them.
  void make_ragged(ForwardCase& test) {
    if (test.batch > 0) test.batch += below(4);
    if (!one_in(10)) return;
    test.batch = 31 + below(40);
    test.len_q = std::min(test.len_q, 30);
    test.len_k = std::min(test.len_k, 60);
  }

  /// Of one sequence: nothing, one, all, or any number; a few have more than the call says the longest has.
  int rows(int most) {
    switch (below(6)) {
      case 0:
        return 0;
      case 1:
        return std::min(most, 1);
      case 2:
        return most;
      case 3:
        return one_in(4) ? most + 3 : most;
      default:
        return below(most + 1);
    }
  }

  /// What the kernel is to cut to what there is included.
  std::vector<std::int32_t> used(const std::vector<int>& rows) {
    std::vector<std::int32_t> list;
    for (const int count : rows) list.push_back(one_in(8) ? out_of_range() : below(count + 1));
    return list;
  }

  void make_sequences(ForwardCase& test, const Addressing& addressing) {
    std::vector<int> rows_q;
    std::vector<int> rows_k;
    const bool chunked = one_in(3);
    for (int b = 0; b < test.batch; ++b) {
      rows_q.push_back(rows(test.len_q));
      rows_k.push_back(chunked ? std::min(test.len_k, rows_q.back() + below(test.len_k + 1)) : rows(test.len_k));
    }
    SequenceCase& sequences = test.sequences;
    if (addressing.cu_q) {
      sequences.cu_q = sums(rows_q);
      sequences.total_q = total(sequences.cu_q);
    }
    const bool cu_k = addressing.cu_k && !test.config.paged;  // pages take seqused_k instead
    if (cu_k) sequences.cu_k = sums(rows_k);
    if (addressing.used_q) sequences.used_q = used(rows_q);
    if (addressing.used_k || (addressing.cu_k && !cu_k)) sequences.used_k = cu_k ? used(rows_k) : rows_k;
  }
};

/// What a kernel is, by the indices of the lists.
struct KernelChoice {
  int types, dims, mask, softcap, alibi, sinks, bias, addressing, pages;
};

AttentionConfig config_of(const KernelChoice& choice) {
  const auto at = [](int index) { return static_cast<std::size_t>(index); };
  const Types& types = kTypes[at(choice.types)];
  AttentionConfig config = make_config(types.dtype, kForwardHeadDims[at(choice.dims)], kForwardMasks[at(choice.mask)]);
  config.softcap = choice.softcap != 0;
  config.alibi = choice.alibi != 0;
  config.sinks = choice.sinks != 0;
  config.bias = kBiases[at(choice.bias)];
  config.ragged = kAddressing[at(choice.addressing)].ragged;
  config.paged = kPageSizes[at(choice.pages)] > 0;
  config.output_f32 = types.output_f32;
  config.allow_tf32 = types.allow_tf32;
  return config;
}

constexpr std::uint64_t kSeed = 20;

/// The addressing of a ragged config, any.
Addressing draw_addressing(const AttentionConfig& config, ForwardGeometry& geometry) {
  return kAddressing[config.ragged ? static_cast<std::size_t>(1 + geometry.below(count_of(kAddressing) - 1)) : 0];
}

ForwardCase draw_case(const AttentionConfig& config, std::uint64_t seed) {
  ForwardGeometry geometry(seed);
  ForwardCase test{.config = config, .seed = seed};
  test.len_q = geometry.length(kLengthBits);
  test.len_k = geometry.length(kLengthBits);
  test.heads_kv = 1 + geometry.below(3);
  test.heads_q = test.heads_kv * (1 + geometry.below(6));
  test.layout = geometry.pick(kLayouts);
  if (config.paged) test.page_size = geometry.page_size();
  geometry.finish(test, draw_addressing(config, geometry));
  return test;
}

}  // namespace

std::vector<ForwardCase> pairwise_cases() {
  std::vector<ForwardCase> cases;
  std::uint64_t seed = kSeed;
  for (const auto& row :
       pairwise_cover({count_of(kTypes), count_of(kForwardHeadDims), count_of(kForwardMasks), kYesOrNo, kYesOrNo,
                       kYesOrNo, count_of(kBiases), count_of(kAddressing), count_of(kPageSizes), count_of(kHeads),
                       count_of(kLengths), count_of(kLayouts)},
                      kSeed)) {
    const auto at = [&](std::size_t dimension) { return static_cast<std::size_t>(row[dimension]); };
    ForwardCase test{.seed = ++seed};
    test.config = config_of({row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7], row[8]});
    if (test.config.paged) test.page_size = kPageSizes[at(8)];
    std::tie(test.heads_q, test.heads_kv) = kHeads[at(9)];
    std::tie(test.len_q, test.len_k) = kLengths[at(10)];
    test.layout = kLayouts[at(11)];
    ForwardGeometry(seed).finish(test, kAddressing[at(7)]);
    cases.push_back(std::move(test));
  }
  return cases;
}

std::vector<ForwardCase> random_cases() {
  constexpr int kPerKernel = 8;
  std::vector<ForwardCase> cases;
  std::uint64_t seed = kSeed * 1000;
  for (const KernelRequest& kernel : kernels_of(pairwise_cases()))
    for (int i = 0; i < kPerKernel; ++i) cases.push_back(draw_case(kernel.config, ++seed));
  return cases;
}

ForwardCase random_case(std::uint64_t seed) {
  Geometry draw(seed / kSeedsOfAKernel);
  const int types = draw.below(count_of(kTypes));
  const int mask = draw.below(count_of(kForwardMasks));
  AttentionConfig config = config_of({.types = types,
                                      .dims = 0,
                                      .mask = mask,
                                      .softcap = draw.below(2),
                                      .alibi = draw.below(2),
                                      .sinks = draw.below(2),
                                      .bias = draw.below(count_of(kBiases)),
                                      .addressing = draw.below(2) * 2,
                                      .pages = draw.below(2)});
  draw.draw_head_dims(config);
  return draw_case(config, seed);
}

std::vector<KernelRequest> kernels_of(const std::vector<ForwardCase>& cases) {
  return distinct_kernels(cases, KernelKind::forward);
}

}  // namespace kiln::test
