#include "cuda/driver_functions.hpp"
#include "cuda/fake_driver.hpp"
#include "cuda/graph.hpp"
#include "cuda/stream.hpp"

#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

namespace kiln::cuda {
namespace {

using ModuleTest = FakeDriverTest;

constexpr LaunchShape kShape{.grid_x = 3, .grid_y = 5, .grid_z = 7, .threads = 128, .smem_bytes = 1024};
constexpr SampleParams kParams{.data = &kShape, .length = 1LL << 40, .scale = 0.5F, .reserved = -1};

TEST_F(ModuleTest, LaunchesWhatItWasTold) {
  const FakeContext context(fake, 1);
  const StreamHandle stream(driver);
  const auto module = load_module(1);
  module->launch(kShape, stream.get(), &kParams);

  ASSERT_EQ(fake.launch_count(), 1);
  const FakeLaunch launch = fake.launch();
  EXPECT_THAT(launch.grid, testing::ElementsAre(3U, 5U, 7U));
  EXPECT_THAT(launch.block, testing::ElementsAre(128U, 1U, 1U));
  EXPECT_EQ(launch.smem_bytes, 1024U);
  EXPECT_EQ(launch.stream, stream.get());
  EXPECT_EQ(launch.device, 1);
  EXPECT_STREQ(launch.kernel, "entry");
  EXPECT_EQ(std::memcmp(launch.image_head, kImage.data(), kImage.size()), 0);
  EXPECT_EQ(launch.overlaps, 0);
  EXPECT_EQ(launch.captured, 0);
  const auto params = fake.params<SampleParams>();
  EXPECT_EQ(params.data, kParams.data);
  EXPECT_EQ(params.length, kParams.length);
  EXPECT_EQ(params.scale, kParams.scale);
  EXPECT_EQ(params.reserved, kParams.reserved);
}

TEST_F(ModuleTest, OverlapsTheKernelBeforeItIfItMay) {
  const FakeContext context(fake, 0);
  const Module module(driver, kImage, "entry", 0, 0, Overlap::yes);
  module.launch(kShape, nullptr, &kParams);
  EXPECT_EQ(fake.launch().overlaps, 1);
}

TEST_F(ModuleTest, OnlyHopperAndLaterOverlap) {
  EXPECT_EQ(driver->overlap(true, 90), Overlap::yes);
  EXPECT_EQ(driver->overlap(true, 120), Overlap::yes);
  EXPECT_EQ(driver->overlap(true, 89), Overlap::no);
  EXPECT_EQ(driver->overlap(false, 90), Overlap::no);
  fake.set_version(12020);
  EXPECT_EQ(Driver::load(FakeCuda::path())->overlap(true, 90), Overlap::no) << "while a stream is captured it can't";
}

TEST_F(ModuleTest, WithoutAContextItLoadsButRefusesToLaunch) {
  const auto module = load_module(1);
  EXPECT_THAT(error_of(ErrorCode::cuda, [&] { module->launch(kShape, nullptr, &kParams); }),
              AllOf(HasSubstr("no CUDA context is current"), HasSubstr("device 1")));
  EXPECT_EQ(fake.launch_count(), 0);
}

TEST_F(ModuleTest, InAnotherDevicesContextItRefusesAndNamesBoth) {
  const FakeContext context(fake, 1);
  const auto module = load_module(0);
  EXPECT_THAT(error_of(ErrorCode::cuda, [&] { module->launch(kShape, nullptr, &kParams); }),
              testing::Eq("the kernel was built for device 0; the current context belongs to device 1"));
  EXPECT_EQ(fake.launch_count(), 0);
}

TEST_F(ModuleTest, ServesEveryContextOfItsDevice) {
  const auto module = load_module();
  for (int i = 0; i < 2; ++i) {
    const FakeContext context(fake, 0);
    const StreamHandle stream(driver);
    module->launch(kShape, stream.get(), &kParams);
    EXPECT_EQ(fake.launch().stream, stream.get());
  }
  EXPECT_EQ(fake.launch_count(), 2);
}

TEST_F(ModuleTest, AStreamOfAnotherContextIsExplained) {
  const FakeContext context(fake, 0);
  const StreamHandle stream(driver);
  const FakeContext other(fake, 0);
  const auto module = load_module();
  EXPECT_THAT(error_of(ErrorCode::cuda, [&] { module->launch(kShape, stream.get(), &kParams); }),
              AllOf(HasSubstr("launching a kernel of 3x5x7 blocks, 128 threads and 1024 bytes of shared memory"),
                    HasSubstr("CUDA_ERROR_INVALID_HANDLE"), HasSubstr("belongs to another context")));
}

TEST_F(ModuleTest, OptsInToTheSharedMemoryItNeeds) {
  const FakeContext context(fake, 0);
  LaunchShape shape = kShape;
  shape.smem_bytes = 200 * 1024;
  load_module(0, 200 * 1024)->launch(shape, nullptr, &kParams);
  EXPECT_EQ(fake.launch().smem_bytes, 200U * 1024U);
  EXPECT_THAT(error_of(ErrorCode::cuda, [&] { load_module()->launch(shape, nullptr, &kParams); }),
              HasSubstr("CUDA_ERROR_INVALID_VALUE"));
}

TEST_F(ModuleTest, MoreSharedMemoryThanTheDeviceHasIsNamed) {
  EXPECT_THAT(error_of(ErrorCode::cuda, [&] { (void)load_module(1, 300 * 1024); }),
              AllOf(HasSubstr("307200 bytes"), HasSubstr("device 1")));
  EXPECT_EQ(fake.live_libraries(), 0) << "a failed load leaves nothing behind";
}

struct LoadFailure {
  const char* function;
  CUresult result;
  const char* message;
};

class FailingLoad : public FakeDriverTest, public testing::WithParamInterface<LoadFailure> {};

TEST_P(FailingLoad, IsExplainedAndLeavesNothingBehind) {
  const FakeContext context(fake, 0);
  fake.fail(GetParam().function, GetParam().result);
  EXPECT_THAT(error_of(ErrorCode::cuda, [&] { (void)load_module(0, 100 * 1024); }), HasSubstr(GetParam().message));
  EXPECT_EQ(fake.live_libraries(), 0);
  EXPECT_EQ(fake.thread_capture_mode(), CU_STREAM_CAPTURE_MODE_GLOBAL);
}

INSTANTIATE_TEST_SUITE_P(
    ModuleTest, FailingLoad,
    testing::Values(LoadFailure{"cuThreadExchangeStreamCaptureMode", CUDA_ERROR_UNKNOWN, "capture mode"},
                    LoadFailure{"cuLibraryLoadData", CUDA_ERROR_OUT_OF_MEMORY, "memory is used up"},
                    LoadFailure{"cuLibraryGetKernel", CUDA_ERROR_NOT_FOUND, "finding a kernel's entry"},
                    LoadFailure{"cuKernelSetAttribute", CUDA_ERROR_INVALID_VALUE, "102400 bytes"},
                    LoadFailure{"cuKernelGetFunction", CUDA_ERROR_NO_BINARY_FOR_GPU, "another GPU architecture"}),
    [](const auto& test) { return test.param.function; });

struct LaunchFailure {
  const char* name;
  CUresult result;
  const char* advice;
};

class FailingLaunch : public FakeDriverTest, public testing::WithParamInterface<LaunchFailure> {};

TEST_P(FailingLaunch, SaysWhatItMeans) {
  const FakeContext context(fake, 0);
  const auto module = load_module();
  fake.fail("cuLaunchKernelEx", GetParam().result, 1, 1);
  module->launch(kShape, nullptr, &kParams);
  EXPECT_THAT(error_of(ErrorCode::cuda, [&] { module->launch(kShape, nullptr, &kParams); }),
              AllOf(HasSubstr("3x5x7"), HasSubstr(GetParam().advice)));
  module->launch(kShape, nullptr, &kParams);
  EXPECT_EQ(fake.launch_count(), 2);
}

INSTANTIATE_TEST_SUITE_P(ModuleTest, FailingLaunch,
                         testing::Values(LaunchFailure{"out_of_memory", CUDA_ERROR_OUT_OF_MEMORY, "used up"},
                                         LaunchFailure{"destroyed", CUDA_ERROR_CONTEXT_IS_DESTROYED, "live context"},
                                         LaunchFailure{"sticky", CUDA_ERROR_ILLEGAL_ADDRESS, "compute-sanitizer"},
                                         LaunchFailure{"registers", CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "registers"}),
                         [](const auto& test) { return test.param.name; });

class LoadInCapture : public FakeDriverTest, public testing::WithParamInterface<CaptureMode> {};

TEST_P(LoadInCapture, WorksAndRestoresTheThreadsMode) {
  const FakeContext context(fake, 0);
  const StreamHandle stream(driver);
  CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
  ASSERT_EQ(driver->functions().cuThreadExchangeStreamCaptureMode(&mode), CUDA_SUCCESS);
  StreamCapture capture(driver, stream.get(), GetParam());
  const auto module = load_module(0, 100 * 1024);
  EXPECT_EQ(fake.thread_capture_mode(), CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
  module->launch(kShape, stream.get(), &kParams);
  EXPECT_EQ(fake.launch().captured, 1);
  capture.finish().launch(stream.get());
  EXPECT_EQ(fake.launch().replayed, 1);
  EXPECT_EQ(fake.params<SampleParams>().length, kParams.length) << "the graph keeps its own copy";
}

const char* mode_name(const testing::TestParamInfo<CaptureMode>& mode) {
  switch (mode.param) {
    case CaptureMode::global:
      return "global";
    case CaptureMode::this_thread:
      return "this_thread";
    case CaptureMode::relaxed:
      break;
  }
  return "relaxed";
}

INSTANTIATE_TEST_SUITE_P(ModuleTest, LoadInCapture,
                         testing::Values(CaptureMode::global, CaptureMode::this_thread, CaptureMode::relaxed),
                         mode_name);

TEST_F(ModuleTest, ADriverThatIsGoneIsNoReasonToFailWhenUnloading) {
  {
    const auto module = load_module();
    fake.shut_down();
  }
  EXPECT_EQ(fake.live_libraries(), 1) << "the driver took it along";
}

TEST_F(ModuleTest, UnloadsWhatItLoaded) {
  {
    const auto module = load_module();
    EXPECT_EQ(fake.live_libraries(), 1);
  }
  EXPECT_EQ(fake.live_libraries(), 0);
}

TEST(ModuleAtExit, MayOutliveTheDriver) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        // Made before the driver starts, so destroyed after it has shut down.
        static std::unique_ptr<Module> kept;
        const FakeCuda fake;
        kept = std::make_unique<Module>(Driver::load(FakeCuda::path()), kImage, "entry", 0, 0);
        std::exit(0);
      },
      testing::ExitedWithCode(0), "");
}

TEST_F(ModuleTest, SixteenThreadsLaunchAtOnce) {
  constexpr int kThreads = 16;
  constexpr int kLaunches = 50;
  const auto module = load_module();
  {
    std::vector<std::jthread> threads;
    for (int index = 0; index < kThreads; ++index) {
      threads.emplace_back([&, index] {
        const FakeContext context(fake, 0);
        const StreamHandle stream(driver);
        SampleParams params = kParams;
        params.reserved = index;
        for (int i = 0; i < kLaunches; ++i) module->launch(kShape, stream.get(), &params);
      });
    }
  }
  ASSERT_EQ(fake.launch_count(), kThreads * kLaunches);
  std::vector<int> seen(kThreads);
  for (int i = 0; i < kThreads * kLaunches; ++i) {
    ++seen[static_cast<std::size_t>(fake.params<SampleParams>(i).reserved)];
  }
  EXPECT_THAT(seen, testing::Each(kLaunches));
}

TEST_F(ModuleTest, ThreadsLoadAtOnce) {
  constexpr int kThreads = 16;
  {
    std::vector<std::jthread> threads;
    for (int index = 0; index < kThreads; ++index) {
      threads.emplace_back([&, index] {
        const FakeContext context(fake, index % 2);
        load_module(index % 2, 100 * 1024)->launch(kShape, nullptr, &kParams);
      });
    }
  }
  EXPECT_EQ(fake.launch_count(), kThreads);
  EXPECT_EQ(fake.live_libraries(), 0);
}

}  // namespace
}  // namespace kiln::cuda
