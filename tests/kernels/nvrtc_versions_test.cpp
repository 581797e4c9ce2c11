// A small cover by each NVRTC that `scripts/setup.sh --nvrtc-versions` has put aside: Kiln works with all from 12.9 on.
#include "api/builder.hpp"
#include "plan/device_info.hpp"
#include "plan/plan.hpp"
#include "support/expect_error.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>

namespace kiln {
namespace {

constexpr std::array kKernels = {
    KernelRequest{KernelKind::forward, {DType::bf16, 128, 128, true, Alignment::bottom_right, Window::none}},
    KernelRequest{KernelKind::decode, {DType::f16, 128, 128, false, Alignment::bottom_right, Window::none}},
    KernelRequest{KernelKind::forward, {DType::f16, 64, 64, false, Alignment::bottom_right, Window::sliding}},
    KernelRequest{KernelKind::decode, {DType::bf16, 64, 64, true, Alignment::bottom_right, Window::sliding}},
};

/// Of a capability that Kiln does not know, too: as the nearest below it.
plan::DeviceInfo device_of(int capability) {
  const auto known = plan::known_capabilities();
  auto device = plan::reference_device(*(std::ranges::upper_bound(known, capability) - 1));
  device.capability = capability;
  return device;
}

class NvrtcVersions : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::filesystem::path folder = std::filesystem::path(KILN_NVRTC_VERSIONS) / GetParam() / "nvidia";
    for (const char* lib : {"cu13/lib", "cuda_nvrtc/lib"}) {
      if (!file_) file_ = jit::find_compiler(folder / lib);
    }
    if (!file_) GTEST_SKIP() << "no NVRTC " << GetParam() << " in " << folder << ": scripts/setup.sh --nvrtc-versions";
    options_.nvrtc_path = file_->path;
    options_.cache_dir = std::filesystem::path();
    supported_ = jit::Compiler::load(*file_)->supported_capabilities();
  }

  std::optional<jit::CompilerFile> file_;
  Options options_;
  std::vector<int> supported_;
};

TEST_P(NvrtcVersions, IsTheVersionItIsCalled) {
  const std::string version = jit::Compiler::load(*file_)->version();
  if (std::string_view(GetParam()) != "newest") {
    EXPECT_EQ(version, GetParam());
  }
  EXPECT_THAT(supported_, testing::IsSupersetOf({80, 86, 87, 89, 90, 100, 103, 120, 121}));
}

// Each target gets one of the kernels.
TEST_P(NvrtcVersions, CompilesForAllItsTargetsWithoutSpills) {
  if (const auto usual = jit::find_compiler({}); usual && usual->identity == file_->identity) {
    GTEST_SKIP() << "CompileCover does more with this very NVRTC";
  }
  const api::Builder builder(options_, base::Logger(LogLevel::off, {}));
  std::size_t next = 0;
  for (const int capability : supported_) {
    if (capability < plan::known_capabilities().front()) continue;
    auto request = kKernels[next++ % kKernels.size()];
    if (!plan::has_type(capability, request.config.dtype)) request.config.dtype = DType::f16;
    const auto config = plan::plan(request, device_of(capability), plan::builtin_tuned_table(capability));
    std::string log;
    const auto entry = builder.compile(config, &log);
    const auto resources = jit::parse_log(log, entry.entry);
    EXPECT_EQ(entry.target, "sm_" + std::to_string(capability));
    EXPECT_GT(resources.registers, 0) << entry.name << "\n" << log;
    EXPECT_EQ(resources.spill_bytes(), 0) << entry.name << "\n" << log;
    EXPECT_THAT(resources.warnings, testing::IsEmpty()) << entry.name << "\n" << log;
  }
  EXPECT_GE(next, 9U);
}

// 12.9 has no 8.8 and no 11.0; later ones have all.
TEST_P(NvrtcVersions, SaysWhichOfKilnsTargetsItLacks) {
  const api::Builder builder(options_, base::Logger(LogLevel::off, {}));
  for (const int capability : plan::known_capabilities()) {
    if (std::ranges::find(supported_, capability) != supported_.end()) continue;
    const auto config = plan::plan(kKernels[1], device_of(capability), {});
    EXPECT_THAT(test::error_of(ErrorCode::compile, [&] { (void)builder.compile(config); }),
                testing::HasSubstr("cannot compile for sm_" + std::to_string(capability)));
  }
}

INSTANTIATE_TEST_SUITE_P(Wheels, NvrtcVersions, testing::Values("12.9", "13.0", "newest"), [](const auto& test) {
  std::string name = test.param;
  std::ranges::replace(name, '.', '_');
  return name;
});

}  // namespace
}  // namespace kiln
