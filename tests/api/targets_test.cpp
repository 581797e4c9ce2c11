// What is compiled for which GPU, and what is said when NVRTC can't.
#include "api/builder.hpp"
#include "plan/device_info.hpp"
#include "plan/plan.hpp"
#include "support/expect_error.hpp"
#include "support/temp_folder.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kiln::api {
namespace {

using test::error_of;
using test::ScopedVariable;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class Targets : public testing::Test {
 protected:
  Targets() {
    options_.nvrtc_path = KILN_NVRTC_SHIM;
    options_.cache_dir = std::filesystem::path();
  }

  [[nodiscard]] Builder builder() {
    return {options_,
            base::Logger(LogLevel::warning, [this](LogLevel, std::string_view line) { warnings_.emplace_back(line); })};
  }

  /// A GPU like those of compute capability `like`, but of another.
  static plan::KernelConfig config(int capability, int like) {
    auto device = plan::reference_device(like);
    device.capability = capability;
    return plan::plan({.kind = KernelKind::forward, .config = {}}, device, {});
  }

  const ScopedVariable fake_{"NVRTC_SHIM_FAKE", "1"};
  Options options_;
  std::vector<std::string> warnings_;
};

TEST_F(Targets, WhatKilnAndNvrtcKnowIsTheTargetItself) {
  const auto maker = builder();
  EXPECT_EQ(maker.find_or_compile(config(120, 120)).entry.target, "sm_120");
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(Targets, WhatOnlyNvrtcKnowsIsTheTargetItself) {
  const ScopedVariable newer("NVRTC_SHIM_ARCHS", "75,80,90,100,103,107,110,120,121");
  EXPECT_EQ(builder().find_or_compile(config(107, 103)).entry.target, "sm_107");
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(Targets, WhatNobodyKnowsGetsItsMajorsGreatestWithOneWarning) {
  const auto maker = builder();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(maker.find_or_compile(config(107, 103)).entry.target, "sm_103");
  EXPECT_THAT(warnings_, ElementsAre(AllOf(HasSubstr("NVRTC 13.0"), HasSubstr("10.7"), HasSubstr("sm_103"))));
}

TEST_F(Targets, AMajorThatNobodyKnowsGetsPtxWithOneWarning) {
  const auto maker = builder();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(maker.find_or_compile(config(130, 90)).entry.target, "compute_121");
  EXPECT_THAT(warnings_, ElementsAre(AllOf(HasSubstr("13.0"), HasSubstr("compute_121"), HasSubstr("the driver"))));
}

TEST_F(Targets, WithJitOffTheRuleIsTheSame) {
  options_.jit = false;
  const auto maker = builder();
  EXPECT_EQ(maker.blueprint(config(107, 103)).target, "sm_103");
  EXPECT_EQ(maker.blueprint(config(107, 103)).target, "sm_103");
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("sm_103")));
}

// NVRTC 12.9 has no 88 and calls 110 by its old number.
TEST_F(Targets, WhatNvrtcIsTooOldForIsAnErrorThatSaysSo) {
  const ScopedVariable older("NVRTC_SHIM_ARCHS", "75,80,86,87,89,90,100,101,103,120,121");
  for (const int capability : {88, 110}) {
    EXPECT_THAT(
        error_of(ErrorCode::compile, [&] { (void)builder().find_or_compile(config(capability, capability)); }),
        AllOf(HasSubstr("NVRTC 13.0 cannot compile for sm_" + std::to_string(capability)), HasSubstr("90, 100, 101"),
              HasSubstr("Install a newer nvidia-cuda-nvrtc"), HasSubstr("KILN_NVRTC_PATH")));
  }
}

TEST_F(Targets, WithoutNvrtcTheErrorSaysWhereItWasSoughtAndWhatToDo) {
  options_.nvrtc_path = "/nowhere/libnvrtc.so.13";
  EXPECT_THAT(error_of(ErrorCode::compile, [&] { (void)builder().find_or_compile(config(90, 90)); }),
              AllOf(HasSubstr("NVRTC was not found"), HasSubstr("/nowhere/libnvrtc.so.13"),
                    HasSubstr("nvidia-cuda-nvrtc"), HasSubstr("kiln precompile")));
}

TEST_F(Targets, AnOldNvrtcIsRefused) {
  const ScopedVariable old("NVRTC_SHIM_FAIL", "old");
  EXPECT_THAT(error_of(ErrorCode::compile, [&] { (void)builder().find_or_compile(config(90, 90)); }),
              AllOf(HasSubstr(KILN_NVRTC_SHIM), HasSubstr("NVRTC 12.8, but Kiln needs 12.9 or newer")));
}

}  // namespace
}  // namespace kiln::api
