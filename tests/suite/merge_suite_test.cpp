// The GPU suite's merges, without a GPU: each passes in plain loops on host memory, and each mistake in them is found.
#include "api/check_merge_args.hpp"
#include "gpu/merge_call.hpp"
#include "suite/plain_merge.hpp"
#include "support/fake_cuda_control.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <set>

namespace kiln::test {
namespace {

class MergeSuite : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    setenv("KILN_CUDA_PATH", FakeCuda::path().c_str(), 1);
    ASSERT_EQ(Gpu::missing(), "");
  }

  static ::testing::AssertionResult passes(const MergeCase& test, MergeMistake mistake) {
    MergeCall call(test);
    call.upload();
    const auto args = call.args();
    api::check(test.config, args);
    plain_merge(test.config, args, mistake);
    return call.matches_reference();
  }
};

TEST_F(MergeSuite, HasEveryPairOfTypesWithEveryDim) {
  std::set<MergeConfig> configs;
  std::set<std::string> names;
  for (const MergeCase& test : merge_cases()) {
    configs.insert(test.config);
    names.insert(name_of(test));
  }
  EXPECT_EQ(configs.size(), 3U * 3 * 7);
  EXPECT_EQ(names.size(), configs.size());
}

TEST_F(MergeSuite, EveryCasePassesInPlainLoops) {
  for (const MergeCase& test : merge_cases()) EXPECT_TRUE(passes(test, MergeMistake::none));
}

struct NamedMerge {
  MergeMistake mistake;
  const char* name;
};

class EveryMergeMistake : public MergeSuite, public ::testing::WithParamInterface<NamedMerge> {};

TEST_P(EveryMergeMistake, IsFoundByTheCover) {
  constexpr int kEnough = 3;
  int found = 0;
  for (const MergeCase& test : merge_cases()) found += passes(test, GetParam().mistake) ? 0 : 1;
  EXPECT_GE(found, kEnough);
}

INSTANTIATE_TEST_SUITE_P(Mistakes, EveryMergeMistake,
                         ::testing::Values(NamedMerge{MergeMistake::no_maximum, "no_maximum"},
                                           NamedMerge{MergeMistake::empty_states_count, "empty_states_count"},
                                           NamedMerge{MergeMistake::last_state_left_out, "last_state_left_out"},
                                           NamedMerge{MergeMistake::result_strides_for_lses, "result_strides_for_lses"},
                                           NamedMerge{MergeMistake::natural_for_base2, "natural_for_base2"},
                                           NamedMerge{MergeMistake::empty_lse_zero, "empty_lse_zero"}),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace kiln::test
