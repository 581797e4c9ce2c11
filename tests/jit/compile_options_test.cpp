#include "jit/compiler.hpp"
#include "support/expect_error.hpp"
#include "support/temp_folder.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

namespace kiln::jit {
namespace {

using testing::HasSubstr;

constexpr std::array kNvrtc130 = {75, 80, 86, 87, 88, 89, 90, 100, 103, 110, 120, 121};

struct Case {
  int capability;
  const char* target;
};

class ChooseTarget : public testing::TestWithParam<Case> {};

TEST_P(ChooseTarget, IsTheNearestThatRuns) {
  EXPECT_EQ(choose_target(GetParam().capability, kNvrtc130), GetParam().target);
}

INSTANTIATE_TEST_SUITE_P(All, ChooseTarget,
                         testing::Values(Case{75, "sm_75"}, Case{80, "sm_80"}, Case{90, "sm_90"}, Case{121, "sm_121"},
                                         Case{107, "sm_103"},       // the same major's code runs on later minors
                                         Case{85, "sm_80"},         //
                                         Case{129, "sm_121"},       //
                                         Case{130, "compute_121"},  // another major needs PTX
                                         Case{115, "sm_110"},       //
                                         Case{95, "sm_90"}),
                         [](const auto& param) { return "cc" + std::to_string(param.param.capability); });

TEST(ChooseTarget, OrderDoesNotMatter) {
  constexpr std::array kMixed = {121, 80, 103, 100};
  EXPECT_EQ(choose_target(103, kMixed), "sm_103");
  EXPECT_EQ(choose_target(107, kMixed), "sm_103");
}

TEST(ChooseTarget, PtxIsNeverForAGreaterCapability) {
  constexpr std::array kNvrtc129 = {90, 100, 101, 103, 120, 121};
  EXPECT_EQ(choose_target(110, kNvrtc129), "compute_103");
}

TEST(ChooseTarget, BelowAllIsUnsupported) {
  const auto old = [] { (void)choose_target(70, kNvrtc130); };
  EXPECT_THAT(test::error_of(ErrorCode::unsupported, old), AllOf(HasSubstr("7.0"), HasSubstr("75, 80")));
  const auto none = [] { (void)choose_target(90, {}); };
  EXPECT_THAT(test::error_of(ErrorCode::unsupported, none), HasSubstr("9.0"));
}

// They are part of every kernel's id: a change here makes all caches cold.
TEST(CompileOptions, AreTheAllowList) {
  EXPECT_THAT(compile_options("sm_90"), testing::ElementsAre("--gpu-architecture=sm_90", "--std=c++20", "--no-cache",
                                                             "--modify-stack-limit=false", "--ptxas-options=-v"));
}

TEST(EnvironmentOptions, AreThoseThatChangeTheCode) {
  const test::ScopedVariable flags("NVRTC_APPEND_FLAGS", "-lineinfo");
  const test::ScopedVariable version("NV_NVVM_VERSION", "");
  EXPECT_THAT(environment_options(), testing::ElementsAre("NVRTC_APPEND_FLAGS=-lineinfo"));
  const test::ScopedVariable unset("NVRTC_APPEND_FLAGS", nullptr);
  EXPECT_THAT(environment_options(), testing::IsEmpty());
}

}  // namespace
}  // namespace kiln::jit
