// The fake itself: what a whole-process test says in FAKE_CUDA, and what it reads in a cubin.
#include "cuda/fake_driver.hpp"
#include "jit/compiler.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

namespace kiln::cuda {
namespace {

class FakeScript : public testing::Test {
 protected:
  ~FakeScript() override {
    unsetenv("FAKE_CUDA");
    FakeCuda();
  }
  static FakeCuda script(const std::string& text) {
    setenv("FAKE_CUDA", text.c_str(), 1);
    return {};
  }
};

TEST_F(FakeScript, DescribesTheDevices) {
  script("devices=3,capability=80,sms=108,memory=4096,version=12040");
  const auto driver = Driver::load(FakeCuda::path());
  EXPECT_EQ(driver->version(), 12040);
  EXPECT_EQ(driver->device_count(), 3);
  EXPECT_EQ(driver->device_info(2), (plan::DeviceInfo{"Fake GPU", 80, 108, 163 * 1024, 164 * 1024}));
}

TEST_F(FakeScript, FailsAfterSomeCallsForSomeTimes) {
  const auto fake = script("fail=cuDeviceGetCount:2:1:2,fail=cuDeviceGet:101");
  const auto driver = Driver::load(FakeCuda::path());
  EXPECT_NO_THROW((void)driver->device_count());
  EXPECT_THROW((void)driver->device_count(), Error);
  EXPECT_THROW((void)driver->device_count(), Error);
  EXPECT_NO_THROW((void)driver->device_count());
  EXPECT_THAT(error_of(ErrorCode::cuda, [&] { (void)driver->device_info(0); }), HasSubstr("(101)"));
  EXPECT_EQ(fake.call_count("cuDeviceGetCount"), 5U);
}

using FakeScriptDeathTest = FakeScript;

TEST_F(FakeScriptDeathTest, ATypoEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(script("device=3"), "bad item \"device=3\"");
  EXPECT_DEATH(script("fail=cuNothing:1"), "no function cuNothing");
}

TEST_F(FakeScriptDeathTest, TheLogOfAProcessCountsItsCalls) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto log = FakeCuda::path().parent_path() / "calls.log";
  EXPECT_EXIT(
      {
        const auto fake = script("log=" + log.string());
        const FakeContext context(fake, 0);
        const auto driver = Driver::load(FakeCuda::path());
        Module(driver, kImage, "entry", 0, 0).launch({}, nullptr, &log);
        std::exit(0);
      },
      testing::ExitedWithCode(0), "");
  std::map<std::string, int> counts;
  std::ifstream file(log);
  for (std::string name; file >> name;) file >> counts[name];
  EXPECT_EQ(counts["cuInit"], 1);
  EXPECT_EQ(counts["cuLaunchKernelEx"], 1);
  EXPECT_EQ(counts["launches"], 1);
  EXPECT_EQ(counts.count("cuMemAlloc"), 1U) << "functions never called are listed, too";
  std::filesystem::remove(log);
}

/// A cubin by the real NVRTC: the fake must read it as the driver does.
class FakeWithCubin : public FakeDriverTest {
 protected:
  void SetUp() override {
    const auto file = jit::find_compiler(std::nullopt);
    if (!file) GTEST_SKIP() << "no NVRTC here";
    image_ = jit::Compiler::load(*file)
                 ->compile(
                     "struct Params { const void* data; long long length; float scale; int reserved; };\n"
                     "extern \"C\" __global__ void copy(const __grid_constant__ Params p) {\n"
                     "  *(float*)p.data = p.scale;\n"
                     "}\n",
                     "copy.cu", "copy", jit::compile_options("sm_80"))
                 .image;
  }

  std::vector<std::byte> image_;
};

TEST_F(FakeWithCubin, TakesSizeAndParametersFromIt) {
  fake.set_devices(1, 80);
  const FakeContext context(fake, 0);
  const Module module(driver, image_, "copy", 0, 0);
  const SampleParams params{.data = nullptr, .length = 5, .scale = 0.5F, .reserved = 6};
  module.launch({}, nullptr, &params);
  EXPECT_EQ(fake.launch().image_bytes, image_.size());
  EXPECT_EQ(fake.params<SampleParams>().reserved, 6);
}

TEST_F(FakeWithCubin, KnowsItsKernels) {
  EXPECT_THAT(error_of(ErrorCode::cuda, [&] { Module(driver, image_, "paste", 0, 0); }),
              HasSubstr("CUDA_ERROR_NOT_FOUND"));
}

TEST_F(FakeWithCubin, RefusesItOnAnotherArchitecture) {
  const FakeContext context(fake, 0);
  EXPECT_THAT(error_of(ErrorCode::cuda, [&] { Module(driver, image_, "copy", 0, 0); }),
              HasSubstr("built for another GPU architecture"));
  fake.set_devices(1, 86);
  const Module module(driver, image_, "copy", 0, 0);
}

}  // namespace
}  // namespace kiln::cuda
