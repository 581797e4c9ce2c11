// Every pair of dtype, head dims, mask, GQA ratio, lengths and layout occurs in some case here.
#include "gpu/configs.hpp"
#include "gpu/forward_call.hpp"
#include "support/pairwise.hpp"
#include "support/random.hpp"

#include <fmt/format.h>

#include <set>

namespace kiln::test {
namespace {

/// (queries, keys): around the tiles' sizes, primes, much longer on either side, and nothing at all.
constexpr std::array<std::pair<int, int>, 28> kLengths = {
    {{1, 1},     {0, 5},     {5, 0},     {1, 64},     {1, 1025},  {15, 17},   {16, 16},
     {17, 15},   {31, 33},   {63, 64},   {64, 64},    {65, 63},   {64, 65},   {113, 203},
     {127, 128}, {128, 127}, {129, 129}, {203, 113},  {3, 239},   {239, 799}, {799, 239},
     {1023, 31}, {31, 1023}, {513, 513}, {1025, 257}, {16, 4099}, {2049, 7},  {799, 1023}}};

constexpr std::array kLayouts = {Layout::bshd, Layout::bhsd, Layout::packed, Layout::padded, Layout::broadcast};
constexpr std::array kSides = {-1, 0, 1, 7, 63, 64, 65, 130, 500};
constexpr std::uint64_t kSeed = 20;

ForwardCase make_case(const std::vector<int>& choice, Draw& draw) {
  const auto at = [&](std::size_t dimension) { return static_cast<std::size_t>(choice[dimension]); };
  ForwardCase test;
  test.config = make_config(kDTypes[at(0)], kHeadDims[at(1)], kMasks[at(2)]);
  std::tie(test.heads_q, test.heads_kv) = kHeads[at(3)];
  std::tie(test.len_q, test.len_k) = kLengths[at(4)];
  test.layout = kLayouts[at(5)];
  const bool large = static_cast<std::int64_t>(test.len_q) * test.len_k > 200'000;
  test.batch = large ? 1 : 1 + draw.below(3);
  if (test.config.window == Window::sliding) {
    test.window_left = draw.pick(kSides);
    test.window_right = draw.pick(kSides);
  }
  test.lse = draw.below(4) != 0;
  if (draw.below(4) == 0) test.scale = 0.25F;
  return test;
}

std::vector<ForwardCase> cover() {
  const auto size = [](const auto& range) { return static_cast<int>(range.size()); };
  Draw draw(kSeed);
  std::vector<ForwardCase> cases;
  std::set<std::string> names;
  for (const auto& choice : pairwise_cover(
           {size(kDTypes), size(kHeadDims), size(kMasks), size(kHeads), size(kLengths), size(kLayouts)}, kSeed)) {
    cases.push_back(make_case(choice, draw));
    if (!names.insert(name_of(cases.back())).second) cases.pop_back();
  }
  return cases;
}

/// Geometry that no list holds: lengths of every magnitude up to 1500, any heads, any window.
std::vector<ForwardCase> random_cases() {
  constexpr int kCount = 150;
  Draw draw(kSeed + 1);
  const auto length = [&] { return draw.below(2 + draw.below(1 << (1 + draw.below(11)))); };
  std::vector<ForwardCase> cases;
  for (int i = 0; i < kCount; ++i) {
    ForwardCase test;
    test.config = make_config(draw.pick(kDTypes), draw.pick(kHeadDims), draw.pick(kMasks));
    test.heads_kv = 1 + draw.below(4);
    test.heads_q = test.heads_kv * (1 + draw.below(6));
    test.batch = 1 + draw.below(3);
    test.len_q = length();
    test.len_k = length();
    test.layout = draw.pick(kLayouts);
    if (test.config.window == Window::sliding) {
      test.window_left = draw.below(test.len_k + 2) - 1;
      test.window_right = draw.below(test.len_k + 2) - 1;
    }
    cases.push_back(test);
  }
  return cases;
}

class ForwardCover : public GpuTest, public ::testing::WithParamInterface<ForwardCase> {
 protected:
  static void SetUpTestSuite() {
    std::set<KernelRequest> requests;
    for (const ForwardCase& test : cover()) requests.insert({KernelKind::forward, test.config});
    prepare_for_suite({requests.begin(), requests.end()});
  }
};

TEST_P(ForwardCover, MatchesTheReference) {
  ForwardCall call(GetParam());
  call.upload();
  call.launch(stream());
  EXPECT_TRUE(call.matches_reference());
}

INSTANTIATE_TEST_SUITE_P(Pairwise, ForwardCover, ::testing::ValuesIn(cover()),
                         [](const auto& test) { return name_of(test.param); });
// The number keeps names apart where two draws are alike.
INSTANTIATE_TEST_SUITE_P(Random, ForwardCover, ::testing::ValuesIn(random_cases()),
                         [](const auto& test) { return fmt::format("n{}_{}", test.index, name_of(test.param)); });

}  // namespace
}  // namespace kiln::test
