#include "api/fake_machine.hpp"
#include "cache/disk_store.hpp"
#include "cuda/graph.hpp"
#include "cuda/stream.hpp"
#include "device/params.cuh"
#include "device/tile_schedule.cuh"
#include "support/expect_error.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <optional>
#include <thread>

namespace kiln {
namespace {

using test::error_of;
using test::FakeContext;
using test::forward_args;
using test::ScopedVariable;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

using RuntimeTest = test::FakeMachine;

TEST_F(RuntimeTest, CompilesOnceThenServesFromMemoryThenFromDisk) {
  const FakeContext context(fake, 0);
  {
    const Runtime runtime(options());
    EXPECT_EQ(runtime.forward({}).info().origin, Origin::compiled);
    (void)runtime.forward({});
    const auto stats = runtime.stats();
    EXPECT_EQ(stats.compiles, 1U);
    EXPECT_EQ(stats.memory_hits, 1U);
  }
  const Runtime again(options());
  EXPECT_EQ(again.forward({}).info().origin, Origin::disk);
  EXPECT_EQ(again.stats().disk_hits, 1U);
  EXPECT_EQ(compiles(), 1);
  EXPECT_THAT(log_lines(), IsEmpty());
}

TEST_F(RuntimeTest, ForwardLaunchesWhatTheArgumentsSay) {
  const FakeContext context(fake, 0);
  const Runtime runtime(options());
  const auto kernel = runtime.forward({.causal = true});
  fake.set_params_bytes(sizeof(device::ForwardParams));
  auto args = forward_args();
  kernel.launch(nullptr, args);

  ASSERT_EQ(fake.launch_count(), 1);
  const auto launch = fake.launch();
  EXPECT_STREQ(launch.kernel, "kiln_forward");
  EXPECT_EQ(launch.smem_bytes, static_cast<unsigned>(kernel.info().smem_bytes));
  const auto params = fake.params<device::ForwardParams>();
  EXPECT_EQ(params.q, args.q.data);
  EXPECT_EQ(params.k, args.k.data);
  EXPECT_EQ(params.v, args.v.data);
  EXPECT_EQ(params.o, args.out.data);
  EXPECT_EQ(params.lse, args.lse);
  EXPECT_EQ(params.k_strides.batch, args.k.strides.batch);
  EXPECT_EQ(params.k_strides.row, args.k.strides.row);
  EXPECT_EQ(params.o_strides.head, args.out.strides.head);
  EXPECT_EQ(params.batch, 3);
  EXPECT_EQ(params.heads_q, 8);
  EXPECT_EQ(params.heads_kv, 2);
  EXPECT_EQ(params.group, 4);
  EXPECT_EQ(params.len_q, 300);
  EXPECT_EQ(params.len_k, 500);
  EXPECT_EQ(params.window_left, -1);
  EXPECT_FLOAT_EQ(params.scale_log2, static_cast<float>(1 / std::sqrt(128.0) / std::log(2.0)));
  EXPECT_EQ(runtime.stats().launches, 1U);

  args.scale = 2.0F;
  kernel.launch(nullptr, args);
  EXPECT_FLOAT_EQ(fake.params<device::ForwardParams>().scale_log2, static_cast<float>(2.0 / std::log(2.0)));
}

TEST_F(RuntimeTest, AnEmptyBatchLaunchesNothingAndNoKeysStillWritesZeros) {
  const FakeContext context(fake, 0);
  const Runtime runtime(options());
  const auto kernel = runtime.forward({});
  auto args = forward_args();
  args.batch = 0;
  kernel.launch(nullptr, args);
  args = forward_args();
  args.len_q = 0;
  kernel.launch(nullptr, args);
  EXPECT_EQ(fake.launch_count(), 0);
  args = forward_args();
  args.len_k = 0;
  kernel.launch(nullptr, args);
  EXPECT_EQ(fake.launch_count(), 1);
}

TEST_F(RuntimeTest, DecodeUsesItsWorkspaceExactly) {
  const FakeContext context(fake, 0);
  const Runtime runtime(options());
  const auto kernel = runtime.decode({});
  const auto q = forward_args();
  DecodeArgs args{.q = q.q,
                  .k_cache = q.k,
                  .v_cache = q.v,
                  .out = q.out,
                  .batch = 2,
                  .max_len_k = 4096,
                  .heads_q = 8,
                  .heads_kv = 2,
                  .num_splits = 5};
  const auto bytes = kernel.workspace_bytes(args);
  ASSERT_GT(bytes, 0U);
  args.workspace = reinterpret_cast<void*>(0x100000);
  args.workspace_bytes = bytes - 1;
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { kernel.launch(nullptr, args); }),
              HasSubstr(std::to_string(bytes)));
  args.workspace_bytes = bytes;
  fake.set_params_bytes(sizeof(device::DecodeParams));
  kernel.launch(nullptr, args);
  const auto params = fake.params<device::DecodeParams>();
  EXPECT_EQ(params.splits, 5);
  EXPECT_EQ(fake.launch().grid[0], 2U * 2U * 5U);
  const auto* end = reinterpret_cast<const char*>(params.partial_o) + std::size_t{2} * 8 * 5 * 128 * sizeof(float);
  EXPECT_EQ(end - static_cast<const char*>(args.workspace), static_cast<std::ptrdiff_t>(bytes));

  args.num_splits = 1;
  args.workspace = nullptr;
  args.workspace_bytes = 0;
  EXPECT_EQ(kernel.workspace_bytes(args), 0U);
  kernel.launch(nullptr, args);
  EXPECT_EQ(fake.launch_count(), 2);
}

TEST_F(RuntimeTest, TheLaunchPathTouchesNothingButTheLaunch) {
  const FakeContext context(fake, 0);
  const Runtime runtime(options());
  const auto kernel = runtime.forward({});
  const auto allocations = fake.live_allocations();
  for (int i = 0; i < 100; ++i) kernel.launch(nullptr, forward_args());
  EXPECT_EQ(fake.call_count("cuLaunchKernelEx"), 100U);
  EXPECT_EQ(fake.call_count("cuStreamSynchronize"), 0U);
  EXPECT_EQ(fake.call_count("cuCtxSynchronize"), 0U);
  EXPECT_EQ(fake.live_allocations(), allocations);
  EXPECT_EQ(fake.call_count("cuMemAlloc"), 0U);
}

TEST_F(RuntimeTest, AHandleOutlivesItsRuntime) {
  const FakeContext context(fake, 0);
  std::optional<ForwardKernel> kernel;
  {
    const Runtime runtime(options());
    kernel = runtime.forward({});
  }
  kernel->launch(nullptr, forward_args());
  EXPECT_EQ(fake.launch_count(), 1);
  kernel.reset();
  EXPECT_EQ(fake.live_libraries(), 0);
}

TEST_F(RuntimeTest, KeepsTheContextOfTheCaller) {
  const Runtime without(options());
  (void)without.forward({});
  EXPECT_EQ(fake.context_current(), nullptr);
  EXPECT_EQ(fake.retained_contexts(), 0);
  const FakeContext context(fake, 1);
  auto* const before = fake.context_current();
  const Runtime runtime(options());
  runtime.forward({}).launch(nullptr, forward_args());
  EXPECT_EQ(fake.context_current(), before);
  EXPECT_EQ(fake.launch().device, 1) << "the device of the current context";
}

TEST_F(RuntimeTest, ALaunchInAnotherDevicesContextIsRefused) {
  const Runtime runtime([&] {
    auto of_device = options();
    of_device.device = 0;
    return of_device;
  }());
  const auto kernel = runtime.forward({});
  EXPECT_THAT(error_of(ErrorCode::cuda, [&] { kernel.launch(nullptr, forward_args()); }), HasSubstr("context"));
  const FakeContext context(fake, 1);
  EXPECT_THAT(error_of(ErrorCode::cuda, [&] { kernel.launch(nullptr, forward_args()); }),
              AllOf(HasSubstr("device 0"), HasSubstr("device 1")));
}

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

TEST_F(RuntimeTest, AMissingNvrtcSaysWhatToDo) {
  const FakeContext context(fake, 0);
  auto wrong = options();
  wrong.nvrtc_path = folder.path() / "libnvrtc.so.13";
  const Runtime runtime(wrong);
  EXPECT_THAT(error_of(ErrorCode::compile, [&] { (void)runtime.forward({}); }),
              AllOf(HasSubstr("NVRTC"), HasSubstr("KILN_NVRTC_PATH"), HasSubstr("kiln precompile")));
}

TEST_F(RuntimeTest, AWarmStartLoadsNoNvrtc) {
  const FakeContext context(fake, 0);
  {
    (void)Runtime(options()).forward({});
  }
  // Were it loaded, asking its version would fail.
  const ScopedVariable broken("NVRTC_SHIM_FAIL", "version");
  const Runtime warm(options());
  EXPECT_EQ(warm.forward({}).info().origin, Origin::disk);
  EXPECT_THAT(error_of(ErrorCode::compile, [&] { (void)warm.forward({.causal = true}); }), HasSubstr("NVRTC"));
}

TEST_F(RuntimeTest, WithoutNvrtcAnyCompilersKernelServes) {
  const FakeContext context(fake, 0);
  {
    (void)Runtime(options()).forward({});
  }
  auto gone = options();
  gone.nvrtc_path = folder.path() / "none.so";
  EXPECT_EQ(Runtime(gone).forward({}).info().origin, Origin::disk);
}

TEST_F(RuntimeTest, JitOffServesWhatIsKeptAndPrintsTheCommandForTheRest) {
  const FakeContext context(fake, 0);
  {
    (void)Runtime(options()).forward({});
  }
  auto off = options();
  off.jit = false;
  const Runtime runtime(off);
  EXPECT_EQ(runtime.forward({}).info().origin, Origin::disk);
  EXPECT_THAT(
      error_of(
          ErrorCode::missing_kernel,
          [&] { (void)runtime.forward({.dtype = DType::f16, .head_dim_qk = 64, .head_dim_v = 64, .causal = true}); }),
      HasSubstr("kiln precompile --kind forward --dtype f16 --head-dim 64/64 --causal"));
  EXPECT_EQ(compiles(), 1);
}

TEST_F(RuntimeTest, APrecompiledFolderComesFirstAndIsNeverWritten) {
  const FakeContext context(fake, 0);
  auto maker = options();
  maker.cache_dir = folder.path() / "shipped";
  {
    (void)Runtime(maker).forward({});
  }
  auto user = options();
  user.precompiled_dir = folder.path() / "shipped";
  user.jit = false;
  const Runtime runtime(user);
  EXPECT_EQ(runtime.forward({}).info().origin, Origin::precompiled);
  EXPECT_EQ(runtime.stats().precompiled_hits, 1U);
  EXPECT_EQ(compiles(), 1);
}

TEST_F(RuntimeTest, SeveralPrecompiledFoldersAreSearchedInOrderAndNothingIsCopied) {
  const FakeContext context(fake, 0);
  auto maker = options();
  const auto first = folder.path() / "first";
  const auto second = folder.path() / "second";
  maker.cache_dir = first;
  (void)Runtime(maker).forward({});
  maker.cache_dir = second;
  (void)Runtime(maker).forward({.causal = true});
  auto user = options();
  user.precompiled_dir = (folder.path() / "none").string() + "::" + first.string() + ":" + second.string();
  const Runtime runtime(user);
  EXPECT_EQ(runtime.forward({}).info().origin, Origin::precompiled);
  EXPECT_EQ(runtime.forward({.causal = true}).info().origin, Origin::precompiled);
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "cache"));
  EXPECT_EQ(runtime.forward({.window = Window::sliding}).info().origin, Origin::compiled);
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "cache"));
  EXPECT_EQ(compiles(), 3);
  EXPECT_EQ(log_lines(), std::vector<std::string>{});
}

TEST_F(RuntimeTest, WithoutAHomeKernelsAreInMemoryOnlyWithOneWarning) {
  const FakeContext context(fake, 0);
  const ScopedVariable no_xdg("XDG_CACHE_HOME", nullptr);
  auto homeless = options();
  homeless.cache_dir.reset();
  for (const char* home : {static_cast<const char*>(nullptr), "/", "", "relative"}) {
    const ScopedVariable variable("HOME", home);
    const std::size_t before = log_lines().size();
    EXPECT_EQ(Runtime(homeless).forward({}).info().origin, Origin::compiled);
    ASSERT_EQ(log_lines().size(), before + 1);
    EXPECT_THAT(log_lines().back(), HasSubstr("neither KILN_CACHE_DIR, XDG_CACHE_HOME nor HOME names a folder"));
  }
}

TEST_F(RuntimeTest, AFolderOthersMayWriteIsMemoryOnlyWithOneWarning) {
  const FakeContext context(fake, 0);
  auto open = options();
  std::filesystem::create_directory(*open.cache_dir);
  std::filesystem::permissions(*open.cache_dir, std::filesystem::perms::all);
  const Runtime runtime(open);
  EXPECT_EQ(runtime.forward({}).info().origin, Origin::compiled);
  EXPECT_EQ(runtime.decode({}).info().origin, Origin::compiled);
  EXPECT_TRUE(std::filesystem::is_empty(*open.cache_dir));
  EXPECT_THAT(log_lines(), testing::ElementsAre(AllOf(HasSubstr(open.cache_dir->string()), HasSubstr("everyone"))));
  open.cache_shared = true;
  (void)Runtime(open).forward({});
  EXPECT_FALSE(std::filesystem::is_empty(*open.cache_dir));
}

TEST_F(RuntimeTest, ADamagedEntryIsRebuiltWithAWarning) {
  const FakeContext context(fake, 0);
  {
    (void)Runtime(options()).forward({});
  }
  for (const auto& file : std::filesystem::recursive_directory_iterator(folder.path() / "cache")) {
    if (file.path().extension() == ".kiln") std::filesystem::resize_file(file.path(), file.file_size() / 2);
  }
  EXPECT_EQ(Runtime(options()).forward({}).info().origin, Origin::compiled);
  EXPECT_EQ(compiles(), 2);
  EXPECT_FALSE(log_lines().empty());
}

TEST_F(RuntimeTest, AnEntryForAnotherArchitectureIsRebuiltWithAWarning) {
  const FakeContext context(fake, 0);
  const std::string kernel_id = Runtime(options()).forward({}).info().kernel_id;
  const cache::DiskStore store(folder.path() / "cache", cache::DiskStore::Access::read_write,
                               base::Logger(LogLevel::off, nullptr));
  auto entry = store.find_kernel(kernel_id);
  ASSERT_TRUE(entry);
  entry->target = "sm_80";  // under the very ids of the one for sm_90
  ASSERT_TRUE(store.publish(*entry));
  EXPECT_EQ(Runtime(options()).forward({}).info().origin, Origin::compiled);
  EXPECT_THAT(log_lines(), testing::Each(AllOf(HasSubstr("is for sm_80, not sm_90"))));
  EXPECT_GE(log_lines().size(), 1U);
  EXPECT_EQ(Runtime(options()).forward({}).info().origin, Origin::disk) << "it was replaced";
}

TEST_F(RuntimeTest, AFailedCompileCarriesLogAndOptionsAndIsTriedAgain) {
  const FakeContext context(fake, 0);
  const Runtime runtime(options());
  {
    const ScopedVariable broken("NVRTC_SHIM_FAIL", "compile");
    EXPECT_THAT(error_of(ErrorCode::compile, [&] { (void)runtime.forward({}); }),
                AllOf(HasSubstr("forward_bf16_d128"), HasSubstr("sm_90"), HasSubstr("error")));
  }
  EXPECT_EQ(runtime.forward({}).info().origin, Origin::compiled);
}

TEST_F(RuntimeTest, AFailedCompileKeepsAFolderThatItsMessageNames) {
  const FakeContext context(fake, 0);
  const Runtime runtime(options());
  const auto failures = folder.path() / "cache" / "v1" / "failures";
  const ScopedVariable broken("NVRTC_SHIM_FAIL", "compile");
  const auto message = error_of(ErrorCode::compile, [&] { (void)runtime.forward({}); });
  ASSERT_TRUE(std::filesystem::is_directory(failures)) << message;
  const auto kept = std::filesystem::directory_iterator(failures)->path();
  EXPECT_THAT(message, HasSubstr(kept.string()));
  EXPECT_THAT(kept.filename().string(), testing::MatchesRegex("forward_bf16_d128.*-[0-9a-f]{16}"));
  const auto text = [&](const char* name) {
    std::ifstream file(kept / name);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  EXPECT_THAT(text("source.cu"), HasSubstr("extern \"C\""));
  EXPECT_THAT(text("options.txt"), HasSubstr("--gpu-architecture=sm_90"));
  EXPECT_THAT(text("log.txt"), HasSubstr("the shim was told to fail"));
  EXPECT_THAT(text("repro.sh"), testing::MatchesRegex("KILN_NVRTC_PATH='[^\n]*' kiln compile --failed '[^\n]*'\n"));
}

TEST_F(RuntimeTest, OnlyTheLatestFailuresAreKept) {
  const FakeContext context(fake, 0);
  const Runtime runtime(options());
  const auto failures = folder.path() / "cache" / "v1" / "failures";
  for (int i = 0; i < 20; ++i) std::filesystem::create_directories(failures / fmt::format("old-{}", i) / "inside");
  const ScopedVariable broken("NVRTC_SHIM_FAIL", "compile");
  const auto message = error_of(ErrorCode::compile, [&] { (void)runtime.forward({}); });
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(failures), {}), 16);
  const auto kept = message.substr(message.rfind(' ') + 1);
  EXPECT_TRUE(std::filesystem::exists(kept + "/source.cu")) << kept;
}

TEST_F(RuntimeTest, WithoutACacheFolderAFailedCompileCarriesItsLog) {
  const FakeContext context(fake, 0);
  const ScopedVariable broken("NVRTC_SHIM_FAIL", "compile");
  auto memory_only = options();
  memory_only.cache_dir = std::filesystem::path();
  EXPECT_THAT(error_of(ErrorCode::compile, [&] { (void)Runtime(memory_only).forward({}); }),
              AllOf(HasSubstr("no cache folder"), HasSubstr("the log:\n"), HasSubstr("told to fail")));
  auto unusable = options();
  unusable.cache_dir = folder.write("file", "");
  EXPECT_THAT(error_of(ErrorCode::compile, [&] { (void)Runtime(unusable).forward({}); }),
              AllOf(HasSubstr("the cache folder can't keep"), HasSubstr("the log:\n")));
}

TEST_F(RuntimeTest, ADriverThatRefusesTheKernelIsAnError) {
  const FakeContext context(fake, 0);
  const Runtime runtime(options());
  fake.fail("cuLibraryLoadData", 2, 0, 1);  // out of memory
  EXPECT_THAT(error_of(ErrorCode::cuda, [&] { (void)runtime.forward({}); }), HasSubstr("memory"));
  runtime.forward({}).launch(nullptr, forward_args());
  EXPECT_EQ(compiles(), 1) << "it was kept before the driver refused it";
}

TEST_F(RuntimeTest, ALaunchThatFailsIsAnError) {
  const FakeContext context(fake, 0);
  const Runtime runtime(options());
  const auto kernel = runtime.forward({});
  fake.fail("cuLaunchKernelEx", 719, 0, 1);
  EXPECT_THAT(error_of(ErrorCode::cuda, [&] { kernel.launch(nullptr, forward_args()); }), HasSubstr("719"));
  EXPECT_EQ(runtime.stats().launches, 0U);
}

TEST_F(RuntimeTest, ConfigKeyedLaunchBuildsOnceAndLaunches) {
  const FakeContext context(fake, 0);
  const Runtime runtime(options());
  runtime.launch({}, nullptr, forward_args());
  runtime.launch({}, nullptr, forward_args());
  EXPECT_EQ(fake.launch_count(), 2);
  EXPECT_EQ(compiles(), 1);
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

TEST_F(RuntimeTest, ACompileInsideACaptureFailsUnlessPrepared) {
  const FakeContext context(fake, 0);
  const auto driver = cuda::Driver::load(test::FakeCuda::path());
  const cuda::StreamHandle stream(driver);
  const Runtime runtime(options());
  {
    const cuda::StreamCapture capture(driver, stream.get());
    EXPECT_THAT(error_of(ErrorCode::capturing, [&] { runtime.launch({}, stream.get(), forward_args()); }),
                HasSubstr("prepare"));
  }
  EXPECT_EQ(compiles(), 0);
  const std::vector<KernelRequest> requests = {{.kind = KernelKind::forward, .config = {}}};
  runtime.prepare(requests);
  cuda::StreamCapture capture(driver, stream.get());
  runtime.launch({}, stream.get(), forward_args());
  const auto graph = capture.finish();
  graph.launch(stream.get());
  EXPECT_EQ(fake.launch().replayed, 1);
}

TEST_F(RuntimeTest, AKernelOnDiskLoadsInsideACapture) {
  const FakeContext context(fake, 0);
  {
    (void)Runtime(options()).forward({});
  }
  const auto driver = cuda::Driver::load(test::FakeCuda::path());
  const cuda::StreamHandle stream(driver);
  const Runtime runtime(options());
  cuda::StreamCapture capture(driver, stream.get());
  runtime.launch({}, stream.get(), forward_args());
  EXPECT_EQ(fake.launch().captured, 1);
  (void)capture.finish();
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
