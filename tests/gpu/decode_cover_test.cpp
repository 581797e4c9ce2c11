// Every pair of dtype, head dims, mask, GQA ratio, lengths, layout and splits occurs in some case here.
#include "gpu/configs.hpp"
#include "gpu/decode_call.hpp"
#include "support/pairwise.hpp"
#include "support/random.hpp"

#include <fmt/format.h>

#include <set>

namespace kiln::test {
namespace {

struct Lengths {
  int max_len_k;
  std::vector<std::int32_t> each{};
};

const std::vector<Lengths>& all_lengths() {
  static const std::vector<Lengths> kAll = {
      {1, {1}},
      {7, {0}},
      {64, {64, 63}},
      {65, {65, 1, 64}},
      {128, {127, 0, 128, 1}},
      {129, {129}},
      {203, {113, 203}},
      {256, {-5, 300, 16}},  // clamped to 0 and 256
      {1025, {1025, 1023, 799, 239, 15, 0}},
      {4099, {4099, 17}},
      {32'768, {31'337}},
      {600, {600, 599, 598, 300, 200, 100, 65, 64, 63, 33, 32, 31, 17, 16, 2, 1, 0}},
  };
  return kAll;
}

constexpr std::array kLayouts = {Layout::bshd, Layout::bhsd, Layout::packed, Layout::padded, Layout::broadcast};
constexpr std::array kSplits = {0, 1, 2, 3, 7, 64, 300};
constexpr std::array kWindows = {-1, 0, 1, 15, 63, 64, 100, 1000};
constexpr std::uint64_t kSeed = 21;

// The query stands at the last key, so causal hides nothing and must change nothing.
constexpr std::array<Mask, 3> kDecodeMasks = {{{}, {.causal = true}, {.window = Window::sliding}}};

DecodeCase make_case(const std::vector<int>& choice, Draw& draw) {
  const auto at = [&](std::size_t dimension) { return static_cast<std::size_t>(choice[dimension]); };
  DecodeCase test;
  test.config = make_config(kDTypes[at(0)], kHeadDims[at(1)], kDecodeMasks[at(2)]);
  std::tie(test.heads_q, test.heads_kv) = kHeads[at(3)];
  test.max_len_k = all_lengths()[at(4)].max_len_k;
  test.lengths = all_lengths()[at(4)].each;
  test.layout = kLayouts[at(5)];
  test.num_splits = kSplits[at(6)];
  if (test.config.window == Window::sliding) test.window_left = draw.pick(kWindows);
  test.pass_lengths = draw.below(6) != 0;
  test.lse = draw.below(4) != 0;
  return test;
}

std::vector<DecodeCase> cover() {
  const auto size = [](const auto& range) { return static_cast<int>(range.size()); };
  Draw draw(kSeed);
  std::vector<DecodeCase> cases;
  std::set<std::string> names;
  for (const auto& choice : pairwise_cover({size(kDTypes), size(kHeadDims), size(kDecodeMasks), size(kHeads),
                                            size(all_lengths()), size(kLayouts), size(kSplits)},
                                           kSeed)) {
    cases.push_back(make_case(choice, draw));
    if (!names.insert(name_of(cases.back())).second) cases.pop_back();
  }
  return cases;
}

/// Geometry that no list holds.
std::vector<DecodeCase> random_cases() {
  constexpr int kCount = 100;
  Draw draw(kSeed + 1);
  std::vector<DecodeCase> cases;
  for (int i = 0; i < kCount; ++i) {
    DecodeCase test;
    test.config = make_config(draw.pick(kDTypes), draw.pick(kHeadDims), draw.pick(kDecodeMasks));
    test.heads_kv = 1 + draw.below(4);
    test.heads_q = test.heads_kv * (1 + draw.below(20));
    test.max_len_k = 1 + draw.below(1 << (1 + draw.below(13)));
    test.lengths.resize(std::size_t{1} + static_cast<std::size_t>(draw.below(6)));
    for (std::int32_t& length : test.lengths) length = draw.below(test.max_len_k + 1);
    test.layout = draw.pick(kLayouts);
    test.num_splits = draw.below(2) == 0 ? 0 : 1 + draw.below(40);
    if (test.config.window == Window::sliding) test.window_left = draw.below(test.max_len_k + 2) - 1;
    cases.push_back(test);
  }
  return cases;
}

class DecodeCover : public GpuTest, public ::testing::WithParamInterface<DecodeCase> {
 protected:
  static void SetUpTestSuite() {
    std::set<KernelRequest> requests;
    for (const DecodeCase& test : cover())
      if (is_to_run("MatchesTheReference/" + name_of(test))) requests.insert({KernelKind::decode, test.config});
    prepare_for_suite({requests.begin(), requests.end()});
  }
};

TEST_P(DecodeCover, MatchesTheReference) {
  DecodeCall call(GetParam());
  call.upload();
  call.launch(stream());
  EXPECT_TRUE(call.matches_reference());
}

INSTANTIATE_TEST_SUITE_P(Pairwise, DecodeCover, ::testing::ValuesIn(cover()),
                         [](const auto& test) { return name_of(test.param); });
// The number keeps names apart where two draws are alike.
INSTANTIATE_TEST_SUITE_P(Random, DecodeCover, ::testing::ValuesIn(random_cases()),
                         [](const auto& test) { return fmt::format("n{}_{}", test.index, name_of(test.param)); });

}  // namespace
}  // namespace kiln::test
