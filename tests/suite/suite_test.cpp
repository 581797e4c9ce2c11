// The GPU suite itself, without a GPU: its cases are as many and as different as they are said to be, each call passes
// where attention is plain loops over its arguments, and each mistake in those loops is found.
#include "api/check_args.hpp"
#include "gpu/forward_call.hpp"
#include "gpu/forward_cases.hpp"
#include "suite/plain_attention.hpp"
#include "support/fake_cuda_control.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <set>

namespace kiln::test {
namespace {

std::vector<ForwardCase> all_cases() {
  std::vector<ForwardCase> cases = pairwise_cases();
  for (ForwardCase& test : random_cases()) cases.push_back(std::move(test));
  return cases;
}

TEST(ForwardCases, AreTwoThousandOfTwoHundredAndFiftyKernels) {
  const auto cases = all_cases();
  std::set<std::string> descriptions;
  for (const ForwardCase& test : cases) descriptions.insert(description(test));
  EXPECT_GE(descriptions.size(), 2000U);
  EXPECT_GE(kernels_of(cases).size(), 250U);
}

TEST(ForwardCases, AreTheSameEachTime) {
  const auto first = all_cases();
  const auto second = all_cases();
  ASSERT_EQ(first.size(), second.size());
  for (std::size_t i = 0; i < first.size(); ++i) {
    ASSERT_EQ(description(first[i]), description(second[i]));
    ASSERT_EQ(first[i].seed, second[i].seed);
  }
  EXPECT_EQ(description(random_case(12345)), description(random_case(12345)));
}

/// A call on memory that the fake driver keeps on the host.
class OnHost : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    setenv("KILN_CUDA_PATH", FakeCuda::path().c_str(), 1);
    ASSERT_EQ(Gpu::missing(), "");
  }

  static ::testing::AssertionResult passes(const ForwardCase& test, Mistake mistake) {
    ForwardCall call(test);
    call.upload();
    const ForwardArgs args = call.args();
    api::check(test.config, args);
    if (!api::writes_nothing(args)) plain_attention(test.config, args, mistake);
    return call.matches_reference();
  }
};

constexpr int kParts = 10;

/// The cases in parts, so that they run side by side; KILN_SUITE_PARTS says how many of them do.
class EveryCase : public OnHost, public ::testing::WithParamInterface<int> {};

TEST_P(EveryCase, PassesInPlainLoops) {
  const auto cases = pairwise_cases();
  for (auto i = static_cast<std::size_t>(GetParam()); i < cases.size(); i += kParts)
    EXPECT_TRUE(passes(cases[i], Mistake::none)) << description(cases[i]);
}

TEST_P(EveryCase, OfRandomGeometryPassesInPlainLoops) {
  constexpr int kOneInCases = 11;  // no divisor of how many there are of a kernel
  const auto cases = random_cases();
  for (auto i = static_cast<std::size_t>(GetParam() * kOneInCases); i < cases.size(); i += kParts * kOneInCases)
    EXPECT_TRUE(passes(cases[i], Mistake::none)) << description(cases[i]);
}

TEST_P(EveryCase, OfTheSoakPassesInPlainLoops) {
  constexpr std::uint64_t kCases = 20;
  for (std::uint64_t i = 0; i < kCases; ++i) {
    const ForwardCase test = random_case(static_cast<std::uint64_t>(GetParam()) * 1000 + i * 7);
    EXPECT_TRUE(passes(test, Mistake::none)) << description(test);
  }
}

INSTANTIATE_TEST_SUITE_P(Parts, EveryCase, ::testing::Range(0, KILN_SUITE_PARTS));

struct Named {
  Mistake mistake;
  const char* name;
};

class EveryMistake : public OnHost, public ::testing::WithParamInterface<Named> {};

TEST_P(EveryMistake, IsFoundByTheCover) {
  constexpr int kEnough = 3;
  int found = 0;
  int looked_at = 0;
  for (const ForwardCase& test : pairwise_cases()) {
    ++looked_at;
    if (!passes(test, GetParam().mistake) && ++found == kEnough) break;
  }
  EXPECT_EQ(found, kEnough) << "of " << looked_at << " cases";
}

INSTANTIATE_TEST_SUITE_P(Mistakes, EveryMistake,
                         ::testing::Values(Named{Mistake::diagonal_off_by_one, "diagonal_off_by_one"},
                                           Named{Mistake::window_sides_swapped, "window_sides_swapped"},
                                           Named{Mistake::value_tail_read, "value_tail_read"},
                                           Named{Mistake::sink_counted_twice, "sink_counted_twice"},
                                           Named{Mistake::heads_by_modulo, "heads_by_modulo"},
                                           Named{Mistake::softcap_after_mask, "softcap_after_mask"},
                                           Named{Mistake::alibi_without_delta, "alibi_without_delta"},
                                           Named{Mistake::last_tile_unmasked, "last_tile_unmasked"},
                                           Named{Mistake::empty_lse_zero, "empty_lse_zero"}),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace kiln::test
