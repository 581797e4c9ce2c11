// The GPU suite itself, without a GPU: its cases are as many and as different as they are said to be, each call passes
// where attention is plain loops over its arguments, and each mistake in those loops is found.
#include "api/check_args.hpp"
#include "gpu/decode_call.hpp"
#include "gpu/decode_cases.hpp"
#include "gpu/forward_call.hpp"
#include "gpu/forward_cases.hpp"
#include "plan/plan.hpp"
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

std::vector<DecodeCase> all_decode_cases() {
  std::vector<DecodeCase> cases = pairwise_decode_cases();
  for (DecodeCase& test : random_decode_cases()) cases.push_back(std::move(test));
  return cases;
}

template <class Case>
void expect_alike(const std::vector<Case>& first, const std::vector<Case>& second) {
  ASSERT_EQ(first.size(), second.size());
  for (std::size_t i = 0; i < first.size(); ++i) {
    ASSERT_EQ(description(first[i]), description(second[i]));
    ASSERT_EQ(first[i].seed, second[i].seed);
  }
}

TEST(ForwardCases, AreTwoThousandOfTwoHundredAndFiftyKernels) {
  const auto cases = all_cases();
  std::set<std::string> descriptions;
  for (const ForwardCase& test : cases) descriptions.insert(description(test));
  EXPECT_GE(descriptions.size(), 2000U);
  EXPECT_GE(kernels_of(cases).size(), 250U);
}

TEST(ForwardCases, AreTheSameEachTime) {
  expect_alike(all_cases(), all_cases());
  EXPECT_EQ(description(random_case(12345)), description(random_case(12345)));
}

TEST(DecodeCases, AreSevenHundredOfTwoHundredKernels) {
  const auto cases = all_decode_cases();
  std::set<std::string> descriptions;
  for (const DecodeCase& test : cases) descriptions.insert(description(test));
  EXPECT_GE(descriptions.size(), 700U);
  EXPECT_GE(kernels_of(cases).size(), 200U);
}

TEST(DecodeCases, AreTheSameEachTime) {
  expect_alike(all_decode_cases(), all_decode_cases());
  EXPECT_EQ(description(random_decode_case(12345)), description(random_decode_case(12345)));
}

TEST(DecodeCases, HaveKernelsForEveryArchitecture) {
  for (const int capability : plan::known_capabilities()) {
    const plan::DeviceInfo device = plan::reference_device(capability);
    for (const KernelRequest& kernel : kernels_of(all_decode_cases())) {
      if (!plan::has_type(capability, kernel.config.dtype)) continue;
      EXPECT_NO_THROW(plan::plan(kernel, device, {})) << capability << " " << name_of(kernel.config);
    }
  }
}

/// A call on memory that the fake driver keeps on the host.
class OnHost : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    setenv("KILN_CUDA_PATH", FakeCuda::path().c_str(), 1);
    ASSERT_EQ(Gpu::missing(), "");
  }

  static ::testing::AssertionResult passes(const ForwardCase& test, Mistake mistake) {
    return passes(ForwardCall(test), mistake);
  }
  static ::testing::AssertionResult passes(const DecodeCase& test, Mistake mistake) {
    return passes(DecodeCall(test), mistake);
  }

 private:
  template <class Call>
  static ::testing::AssertionResult passes(Call call, Mistake mistake) {
    call.upload();
    const auto& test = call.test;
    const auto args = call.args();
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

TEST_P(EveryCase, OfDecodePassesInPlainLoops) {
  const auto cases = pairwise_decode_cases();
  for (auto i = static_cast<std::size_t>(GetParam()); i < cases.size(); i += kParts)
    EXPECT_TRUE(passes(cases[i], Mistake::none)) << description(cases[i]);
}

TEST_P(EveryCase, OfDecodeAndRandomGeometryPassesInPlainLoops) {
  constexpr int kOneInCases = 3;  // no divisor of how many there are of a kernel
  const auto cases = random_decode_cases();
  for (auto i = static_cast<std::size_t>(GetParam() * kOneInCases); i < cases.size(); i += kParts * kOneInCases)
    EXPECT_TRUE(passes(cases[i], Mistake::none)) << description(cases[i]);
}

TEST_P(EveryCase, OfTheDecodeSoakPassesInPlainLoops) {
  constexpr std::uint64_t kCases = 20;
  for (std::uint64_t i = 0; i < kCases; ++i) {
    const DecodeCase test = random_decode_case(static_cast<std::uint64_t>(GetParam()) * 1000 + i * 7);
    EXPECT_TRUE(passes(test, Mistake::none)) << description(test);
  }
}

INSTANTIATE_TEST_SUITE_P(Parts, EveryCase, ::testing::Range(0, KILN_SUITE_PARTS));

struct Named {
  Mistake mistake;
  const char* name;
};

class EveryMistake : public OnHost, public ::testing::WithParamInterface<Named> {
 protected:
  template <class Case>
  static void expect_found(const std::vector<Case>& cases) {
    constexpr int kEnough = 3;
    int found = 0;
    int looked_at = 0;
    for (const Case& test : cases) {
      ++looked_at;
      if (!passes(test, GetParam().mistake) && ++found == kEnough) break;
    }
    EXPECT_EQ(found, kEnough) << "of " << looked_at << " cases";
  }
};

TEST_P(EveryMistake, IsFoundByTheCover) { expect_found(pairwise_cases()); }

class EveryDecodeMistake : public EveryMistake {};

TEST_P(EveryDecodeMistake, IsFoundByTheCover) { expect_found(pairwise_decode_cases()); }

const std::vector<Named>& of_either_kind() {
  static const std::vector<Named> kAll = {{Mistake::diagonal_off_by_one, "diagonal_off_by_one"},
                                          {Mistake::window_sides_swapped, "window_sides_swapped"},
                                          {Mistake::value_tail_read, "value_tail_read"},
                                          {Mistake::sink_counted_twice, "sink_counted_twice"},
                                          {Mistake::heads_by_modulo, "heads_by_modulo"},
                                          {Mistake::softcap_after_mask, "softcap_after_mask"},
                                          {Mistake::alibi_without_delta, "alibi_without_delta"},
                                          {Mistake::last_tile_unmasked, "last_tile_unmasked"},
                                          {Mistake::empty_lse_zero, "empty_lse_zero"}};
  return kAll;
}

std::string name_of(const ::testing::TestParamInfo<Named>& test) { return test.param.name; }

INSTANTIATE_TEST_SUITE_P(Mistakes, EveryMistake, ::testing::ValuesIn(of_either_kind()), name_of);
INSTANTIATE_TEST_SUITE_P(Mistakes, EveryDecodeMistake, ::testing::ValuesIn(of_either_kind()), name_of);
INSTANTIATE_TEST_SUITE_P(OfDecodeAlone, EveryDecodeMistake,
                         ::testing::Values(Named{Mistake::split_boundary_off_by_one, "split_boundary_off_by_one"},
                                           Named{Mistake::last_page_length_ignored, "last_page_length_ignored"},
                                           Named{Mistake::left_padding_ignored, "left_padding_ignored"},
                                           Named{Mistake::first_cache_row_for_all, "first_cache_row_for_all"},
                                           Named{Mistake::tree_bit_off_by_one, "tree_bit_off_by_one"}),
                         name_of);

}  // namespace
}  // namespace kiln::test
