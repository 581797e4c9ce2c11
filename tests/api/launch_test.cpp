// What a launch hands to the driver, and in whose context.
#include "api/fake_machine.hpp"
#include "cuda/graph.hpp"
#include "cuda/stream.hpp"
#include "device/params.cuh"
#include "support/expect_error.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <optional>
#include <vector>

namespace kiln {
namespace {

using test::error_of;
using test::FakeContext;
using test::forward_args;
using testing::AllOf;
using testing::HasSubstr;

using LaunchTest = test::FakeMachine;

TEST_F(LaunchTest, ForwardLaunchesWhatTheArgumentsSay) {
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

TEST_F(LaunchTest, AnEmptyBatchLaunchesNothingAndNoKeysStillWritesZeros) {
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

TEST_F(LaunchTest, DecodeUsesItsWorkspaceExactly) {
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
  EXPECT_EQ(params.split.splits, 5);
  EXPECT_EQ(fake.launch().grid[0], 2U);
  EXPECT_EQ(fake.launch().grid[1], 2U * 5U);
  const auto* end = reinterpret_cast<const char*>(params.partial_o) + std::size_t{2} * 2 * 5 * 16 * 128 * sizeof(float);
  EXPECT_EQ(end - static_cast<const char*>(args.workspace), static_cast<std::ptrdiff_t>(bytes));

  args.num_splits = 1;
  args.workspace = nullptr;
  args.workspace_bytes = 0;
  EXPECT_EQ(kernel.workspace_bytes(args), 0U);
  kernel.launch(nullptr, args);
  EXPECT_EQ(fake.launch_count(), 2);
}

TEST_F(LaunchTest, LaunchesOverlapUnlessToldNotTo) {
  const FakeContext context(fake, 0);
  auto given = options();
  Runtime(given).forward({}).launch(nullptr, forward_args());
  EXPECT_EQ(fake.launch().overlaps, 1);
  given.overlap_launches = false;
  Runtime(given).forward({}).launch(nullptr, forward_args());
  EXPECT_EQ(fake.launch().overlaps, 0);
}

TEST_F(LaunchTest, DecodeThatMayReadMuchDoesNotOverlapNorCopyFarAhead) {
  fake.set_params_bytes(sizeof(device::DecodeParams));
  const FakeContext context(fake, 0);
  const Runtime runtime(options());
  const auto kernel = runtime.decode({});
  const auto q = forward_args();
  constexpr int kKeyBytes = (128 + 128) * 2;
  DecodeArgs args{.q = q.q,
                  .k_cache = q.k,
                  .v_cache = q.v,
                  .out = q.out,
                  .batch = 2,
                  .max_len_k = (512 << 20) / (2 * kKeyBytes),
                  .heads_q = 8,
                  .heads_kv = 1,
                  .num_splits = 1};  // no workspace
  kernel.launch(nullptr, args);
  EXPECT_EQ(fake.launch().overlaps, 1);
  EXPECT_EQ(fake.params<device::DecodeParams>().full_depth, 8);
  ++args.max_len_k;
  kernel.launch(nullptr, args);
  EXPECT_EQ(fake.launch().overlaps, 0);
  EXPECT_EQ(fake.params<device::DecodeParams>().full_depth, 8);
  args.max_len_k *= 2;  // more than 1 GB
  kernel.launch(nullptr, args);
  EXPECT_EQ(fake.params<device::DecodeParams>().full_depth, 3);
}

TEST_F(LaunchTest, TheLaunchPathTouchesNothingButTheLaunch) {
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

TEST_F(LaunchTest, ConfigKeyedLaunchBuildsOnceAndLaunches) {
  const FakeContext context(fake, 0);
  const Runtime runtime(options());
  runtime.launch({}, nullptr, forward_args());
  runtime.launch({}, nullptr, forward_args());
  EXPECT_EQ(fake.launch_count(), 2);
  EXPECT_EQ(compiles(), 1);
}

TEST_F(LaunchTest, AHandleOutlivesItsRuntime) {
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

TEST_F(LaunchTest, KeepsTheContextOfTheCaller) {
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

TEST_F(LaunchTest, ALaunchInAnotherDevicesContextIsRefused) {
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

TEST_F(LaunchTest, ALaunchThatFailsIsAnError) {
  const FakeContext context(fake, 0);
  const Runtime runtime(options());
  const auto kernel = runtime.forward({});
  fake.fail("cuLaunchKernelEx", 719, 0, 1);
  EXPECT_THAT(error_of(ErrorCode::cuda, [&] { kernel.launch(nullptr, forward_args()); }), HasSubstr("719"));
  EXPECT_EQ(runtime.stats().launches, 0U);
}

TEST_F(LaunchTest, ACompileInsideACaptureFailsUnlessPrepared) {
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

TEST_F(LaunchTest, AKernelOnDiskLoadsInsideACapture) {
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

}  // namespace
}  // namespace kiln
