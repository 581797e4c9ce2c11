// A Runtime and its device, and the building of kernels.
#include "api/fake_machine.hpp"
#include "support/expect_error.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

namespace kiln {
namespace {

using test::error_of;
using test::FakeContext;
using test::forward_args;
using test::ScopedVariable;
using testing::AllOf;
using testing::HasSubstr;

using RuntimeTest = test::FakeMachine;

TEST_F(RuntimeTest, TwoRuntimesServeTwoDevices) {
  std::vector<Runtime> runtimes;
  for (const int device : {0, 1}) {
    auto of_device = options();
    of_device.device = device;
    runtimes.emplace_back(of_device);
  }
  for (const int device : {0, 1}) {
    const FakeContext context(fake, device);
    runtimes[static_cast<std::size_t>(device)].forward({}).launch(nullptr, forward_args());
    EXPECT_EQ(fake.launch().device, device);
  }
  EXPECT_EQ(compiles(), 1) << "one architecture, one kernel";
}

TEST_F(RuntimeTest, AnUnknownDeviceIsNamed) {
  auto wrong = options();
  wrong.device = 7;
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { const Runtime runtime(wrong); }),
              AllOf(HasSubstr("device 7"), HasSubstr("2")));
}

TEST_F(RuntimeTest, AnOldGpuIsRefusedByItsCapability) {
  fake.set_devices(1, 70);
  const FakeContext context(fake, 0);
  const Runtime runtime(options());
  EXPECT_THAT(error_of(ErrorCode::unsupported, [&] { (void)runtime.forward({}); }),
              AllOf(HasSubstr("7.0"), HasSubstr("7.5")));
}

TEST_F(RuntimeTest, AMissingDriverSaysWhatToDo) {
  auto wrong = options();
  wrong.cuda_path = folder.path() / "libcuda.so.1";
  EXPECT_THAT(error_of(ErrorCode::cuda, [&] { const Runtime runtime(wrong); }), HasSubstr("libcuda.so.1"));
}

TEST_F(RuntimeTest, ADriverThatRefusesTheKernelIsAnError) {
  const FakeContext context(fake, 0);
  const Runtime runtime(options());
  fake.fail("cuLibraryLoadData", 2, 0, 1);  // out of memory
  EXPECT_THAT(error_of(ErrorCode::cuda, [&] { (void)runtime.forward({}); }), HasSubstr("memory"));
  runtime.forward({}).launch(nullptr, forward_args());
  EXPECT_EQ(compiles(), 1) << "it was kept before the driver refused it";
}

TEST_F(RuntimeTest, ConfigsOfOneKernelShareItWithoutADisk) {
  const FakeContext context(fake, 0);
  auto in_memory = options();
  in_memory.cache_dir = std::filesystem::path{};
  const Runtime runtime(in_memory);
  const DecodeKernel plain = runtime.decode({});
  const DecodeKernel causal = runtime.decode({.causal = true, .window = Window::sliding, .sinks = true});
  const DecodeKernel again = runtime.decode({.causal = true, .window = Window::sliding, .sinks = true});
  EXPECT_EQ(compiles(), 1);
  EXPECT_EQ(fake.call_count("cuLibraryLoadData"), 1U);
  EXPECT_EQ(causal.info().kernel_id, plain.info().kernel_id);
  EXPECT_TRUE(causal.info().request.config.causal) << "each says what was asked for";
  EXPECT_FALSE(plain.info().request.config.causal);
  EXPECT_EQ(runtime.stats().memory_hits, 2U);
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { (void)runtime.decode({.window_left = 3}); }),
              HasSubstr("window_left is 3"));
}

TEST_F(RuntimeTest, PrepareBuildsDistinctRequestsWithProgress) {
  const FakeContext context(fake, 0);
  const Runtime runtime(options());
  const std::vector<KernelRequest> requests = {{.kind = KernelKind::forward, .config = {}},
                                               {.kind = KernelKind::forward, .config = {.causal = true}},
                                               {.kind = KernelKind::decode, .config = {}},
                                               {.kind = KernelKind::forward, .config = {}}};
  Progress last;
  runtime.prepare(requests, [&](const Progress& progress) { last = progress; });
  EXPECT_EQ(last.done, 3);
  EXPECT_EQ(last.total, 3);
  EXPECT_EQ(compiles(), 3);
  (void)runtime.decode({});
  EXPECT_EQ(runtime.stats().memory_hits, 1U);
}

TEST_F(RuntimeTest, SixteenThreadsOnOneColdKernelCompileOnce) {
  const Runtime runtime([&] {
    auto of_device = options();
    of_device.device = 0;
    return of_device;
  }());
  const ScopedVariable slow("NVRTC_SHIM_DELAY_MS", "30");
  std::vector<std::jthread> threads;
  for (int i = 0; i < 16; ++i) {
    threads.emplace_back([&] {
      const FakeContext context(fake, 0);
      for (int j = 0; j < 20; ++j) runtime.forward({}).launch(nullptr, forward_args());
    });
  }
  threads.clear();
  EXPECT_EQ(compiles(), 1);
  EXPECT_EQ(fake.launch_count(), 16 * 20);
  EXPECT_EQ(runtime.stats().launches, 16U * 20U);
}

TEST_F(RuntimeTest, ATunedFolderChangesTheTilingAndAMalformedOneIsAnError) {
  const FakeContext context(fake, 0);
  auto tuned = options();
  tuned.tuned_dir = folder.path() / "tuned";
  std::filesystem::create_directories(*tuned.tuned_dir);
  std::ofstream(*tuned.tuned_dir / "sm_90.json") << R"({"capability": 90, "rows": [{
    "kind": "forward", "device": "Fake GPU", "template_version": 1, "measured": true,
    "tiling": {"tile_m": 64, "tile_n": 32, "warps": 4, "stages": 2, "ctas_per_sm": 2}}]})";
  (void)Runtime(tuned).forward({});
  Runtime(tuned).forward({}).launch(nullptr, forward_args());
  EXPECT_EQ(fake.launch().block[0], 128U) << "four warps";
  std::ofstream(*tuned.tuned_dir / "sm_90.json") << "{]";
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { const Runtime runtime(tuned); }), HasSubstr("sm_90.json"));
}

TEST_F(RuntimeTest, DumpsEverySource) {
  const FakeContext context(fake, 0);
  auto dumping = options();
  dumping.dump_dir = folder.path() / "dump";
  (void)Runtime(dumping).forward({});
  int sources = 0;
  for (const auto& file : std::filesystem::directory_iterator(*dumping.dump_dir))
    sources += file.path().extension() == ".cu";
  EXPECT_EQ(sources, 1);
}

}  // namespace
}  // namespace kiln
