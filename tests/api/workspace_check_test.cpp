// Options::check_workspaces: two streams in one workspace at once are found, and nothing else is.
#include "api/fake_machine.hpp"
#include "cuda/driver_functions.hpp"
#include "cuda/graph.hpp"
#include "cuda/stream.hpp"
#include "support/child.hpp"
#include "support/expect_error.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <chrono>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

namespace kiln {
namespace {

using test::error_of;
using test::FakeContext;
using testing::AllOf;
using testing::HasSubstr;

constexpr std::uintptr_t kWorkspace = 0x100000;

DecodeArgs decode_args(std::uintptr_t workspace = kWorkspace) {
  const auto like = test::forward_args();
  return {.q = like.q,
          .k_cache = like.k,
          .v_cache = like.v,
          .out = like.out,
          .batch = 2,
          .max_len_k = 4096,
          .heads_q = 8,
          .heads_kv = 2,
          .num_splits = 5,
          .workspace = reinterpret_cast<void*>(workspace),
          .workspace_bytes = std::size_t{1} << 30};
}

std::string words(Stream stream) { return fmt::format("stream {}", fmt::ptr(static_cast<const void*>(stream))); }

class WorkspaceCheck : public test::FakeMachine {
 protected:
  [[nodiscard]] Options checking() {
    auto out = options();
    out.check_workspaces = true;
    out.device = 0;
    return out;
  }
  void expect_refused(Stream stream, const DecodeArgs& args) const {
    EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { kernel->launch(stream, args); }),
                HasSubstr("two streams share a workspace"));
  }

  std::shared_ptr<const cuda::Driver> driver = cuda::Driver::load(test::FakeCuda::path());
  std::optional<FakeContext> context{std::in_place, fake, 0};
  std::optional<Runtime> runtime{checking()};
  std::optional<DecodeKernel> kernel{runtime->decode({})};
  std::size_t bytes = kernel->workspace_bytes(decode_args());
};

TEST_F(WorkspaceCheck, TwoStreamsAtOnceAreNamed) {
  const cuda::StreamHandle one(driver);
  const cuda::StreamHandle two(driver);
  fake.hold_stream(one.get());
  kernel->launch(one.get(), decode_args());
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { kernel->launch(two.get(), decode_args()); }),
              AllOf(HasSubstr("this call on " + words(two.get())), HasSubstr("a call on " + words(one.get())),
                    HasSubstr(fmt::format("{} bytes at 0x100000", bytes)),
                    HasSubstr("Give each stream a workspace of its own"), HasSubstr("check_workspaces")));
  expect_refused(nullptr, decode_args());
  EXPECT_EQ(fake.launch_count(), 1);
  EXPECT_EQ(runtime->stats().launches, 1U);

  fake.release_stream(one.get());
  kernel->launch(two.get(), decode_args());
  kernel->launch(nullptr, decode_args());
  EXPECT_EQ(fake.launch_count(), 3);
}

TEST_F(WorkspaceCheck, WhatOverlapsIsShared) {
  const cuda::StreamHandle one(driver);
  const cuda::StreamHandle two(driver);
  fake.hold_stream(one.get());
  kernel->launch(one.get(), decode_args());
  expect_refused(two.get(), decode_args(kWorkspace + bytes - 16));
  expect_refused(two.get(), decode_args(kWorkspace - bytes + 16));
  kernel->launch(two.get(), decode_args(kWorkspace + bytes));
  kernel->launch(two.get(), decode_args(kWorkspace - bytes));
}

TEST_F(WorkspaceCheck, HandlesAndRequestsOfOneRuntimeAreSeenTogether) {
  const cuda::StreamHandle one(driver);
  const cuda::StreamHandle two(driver);
  fake.hold_stream(one.get());
  runtime->launch({}, one.get(), decode_args());
  expect_refused(two.get(), decode_args());
  const auto causal = runtime->decode({.causal = true});
  const auto other = runtime->decode({.dtype = DType::f16});
  for (const auto& kernel_there : {causal, other}) {
    error_of(ErrorCode::invalid_argument, [&] { kernel_there.launch(two.get(), decode_args()); });
  }
  EXPECT_EQ(fake.launch_count(), 1);
}

TEST_F(WorkspaceCheck, OneStreamMayQueueCallAfterCall) {
  const cuda::StreamHandle one(driver);
  const cuda::StreamHandle two(driver);
  fake.hold_stream(one.get());
  for (int i = 0; i < 100; ++i) kernel->launch(one.get(), decode_args());
  EXPECT_EQ(fake.live_events(), 1) << "the last call's stands for all";
  expect_refused(two.get(), decode_args());
  fake.release_stream(one.get());
  kernel->launch(two.get(), decode_args());
}

TEST_F(WorkspaceCheck, ALongRunKeepsNoEvents) {
  const std::vector<std::shared_ptr<cuda::StreamHandle>> streams = {std::make_shared<cuda::StreamHandle>(driver),
                                                                    std::make_shared<cuda::StreamHandle>(driver)};
  for (std::size_t i = 0; i < 1000; ++i) {
    kernel->launch(streams[i % 2]->get(), decode_args(kWorkspace + 16 * i));
    ASSERT_LE(fake.live_events(), 1);
  }
  EXPECT_EQ(fake.call_count("cuStreamSynchronize") + fake.call_count("cuEventSynchronize"), 0U);
  kernel.reset();
  EXPECT_EQ(fake.live_events(), 1) << "the Runtime still knows it";
  runtime.reset();
  EXPECT_EQ(fake.live_events(), 0);
}

TEST_F(WorkspaceCheck, AFailedLaunchUsesNothing) {
  const cuda::StreamHandle one(driver);
  const cuda::StreamHandle two(driver);
  fake.hold_stream(one.get());
  fake.fail("cuLaunchKernelEx", 701, 0, 1);
  error_of(ErrorCode::cuda, [&] { kernel->launch(one.get(), decode_args()); });
  EXPECT_EQ(fake.live_events(), 0);
  kernel->launch(two.get(), decode_args());
}

TEST_F(WorkspaceCheck, ADriverThatFailsIsReported) {
  for (const char* function : {"cuStreamGetId", "cuEventCreate", "cuEventRecord"}) {
    fake.fail(function, 999, 0, 1);
    EXPECT_THAT(error_of(ErrorCode::cuda, [&] { kernel->launch(nullptr, decode_args()); }), HasSubstr("999"));
    kernel->launch(nullptr, decode_args());
  }
}

TEST_F(WorkspaceCheck, ACapturedCallPassesUnseen) {
  const cuda::StreamHandle one(driver);
  const cuda::StreamHandle two(driver);
  fake.hold_stream(one.get());
  kernel->launch(one.get(), decode_args());
  const auto events = fake.call_count("cuEventCreate");
  cuda::StreamCapture capture(driver, two.get());
  kernel->launch(two.get(), decode_args());
  const auto graph = capture.finish();
  graph.launch(two.get());
  EXPECT_EQ(fake.launch_count(), 3);
  EXPECT_EQ(fake.call_count("cuEventCreate"), events);
}

TEST_F(WorkspaceCheck, CapturesOfOtherStreamsStayWhole) {
  const cuda::StreamHandle one(driver);
  const cuda::StreamHandle captured(driver);
  kernel->launch(one.get(), decode_args());
  cuda::StreamCapture capture(driver, captured.get(), cuda::CaptureMode::global);
  kernel->launch(one.get(), decode_args());  // asks for an event, which a global capture forbids
  kernel->launch(captured.get(), decode_args(kWorkspace * 16));
  (void)capture.finish();
  EXPECT_EQ(fake.thread_capture_mode(), 0);
}

TEST_F(WorkspaceCheck, DefaultStreamsAreStreams) {
  const cuda::StreamHandle one(driver);
  fake.hold_stream(nullptr);
  kernel->launch(nullptr, decode_args());
  expect_refused(one.get(), decode_args());
  expect_refused(CU_STREAM_PER_THREAD, decode_args());
  kernel->launch(CU_STREAM_LEGACY, decode_args());  // another name of the same stream
}

TEST_F(WorkspaceCheck, EachThreadsDefaultStreamIsAnother) {
  fake.hold_stream(CU_STREAM_PER_THREAD);
  kernel->launch(CU_STREAM_PER_THREAD, decode_args());
  kernel->launch(CU_STREAM_PER_THREAD, decode_args());
  std::thread([&] {
    fake.context_set_current(context->get());
    expect_refused(CU_STREAM_PER_THREAD, decode_args());
  }).join();
}

TEST_F(WorkspaceCheck, ThreadsThatShareAWorkspaceGetOneCallThrough) {
  constexpr int kThreads = 8;
  std::vector<std::unique_ptr<cuda::StreamHandle>> streams;
  for (int i = 0; i < kThreads; ++i) {
    streams.push_back(std::make_unique<cuda::StreamHandle>(driver));
    fake.hold_stream(streams.back()->get());
  }
  // Launches take long enough for all to find the workspace free, if nothing held them up.
  fake.set_kernel([](const FakeLaunch*, void*) { std::this_thread::sleep_for(std::chrono::milliseconds(2)); }, nullptr);
  std::barrier together(kThreads);
  std::atomic<int> refused = 0;
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] {
        fake.context_set_current(context->get());
        const auto own = decode_args(kWorkspace + (i + 1) * bytes);
        for (int call = 0; call < 5; ++call) kernel->launch(streams[i]->get(), own);
        together.arrive_and_wait();
        try {
          kernel->launch(streams[i]->get(), decode_args());
        } catch (const Error&) {
          ++refused;
        }
      });
    }
  }
  EXPECT_EQ(refused, kThreads - 1);
  EXPECT_EQ(fake.launch_count(), kThreads * 5 + 1);
}

TEST_F(WorkspaceCheck, ContextsAreKeptApart) {
  const cuda::StreamHandle one(driver);
  fake.hold_stream(one.get());
  kernel->launch(one.get(), decode_args());
  {
    const FakeContext another(fake, 0);
    kernel->launch(nullptr, decode_args());
  }
  expect_refused(nullptr, decode_args());
}

TEST_F(WorkspaceCheck, EventsOfADestroyedContextAreNotTouched) {
  const FakeContext next(fake, 0);
  for (int i = 0; i < 3; ++i) {
    auto* const dying = fake.context_create(0);
    fake.context_set_current(dying);
    const cuda::StreamHandle stream(driver);
    fake.hold_stream(stream.get());
    kernel->launch(stream.get(), decode_args());
    fake.context_destroy(dying);
    fake.context_set_current(next.get());
    kernel->launch(nullptr, decode_args());
  }
  const auto queries = fake.call_count("cuEventQuery");
  const auto destroyed = fake.call_count("cuEventDestroy");
  EXPECT_EQ(queries, 2U) << "of the context that lives on";
  EXPECT_EQ(destroyed, 2U);
  fake.context_set_current(nullptr);
  kernel.reset();
  runtime.reset();
  EXPECT_EQ(fake.call_count("cuEventQuery"), queries);
  EXPECT_EQ(fake.call_count("cuEventDestroy"), destroyed) << "no context is current: each event is left to its own";
}

TEST_F(WorkspaceCheck, TheDriverMayGoFirst) {
  kernel->launch(nullptr, decode_args());
  fake.shut_down();
  EXPECT_THAT(error_of(ErrorCode::cuda, [&] { kernel->launch(nullptr, decode_args()); }), HasSubstr("exiting"));
  kernel.reset();
  runtime.reset();
}

TEST_F(WorkspaceCheck, AForkedChildIsToldAndMayEnd) {
  kernel->launch(nullptr, decode_args());
  EXPECT_EQ(test::in_child([&] {
              try {
                kernel->launch(nullptr, decode_args());
                return 1;
              } catch (const Error& error) {
                if (std::string_view(error.what()).find("fork") == std::string_view::npos) return 2;
              }
              kernel.reset();
              runtime.reset();
              return 0;
            }),
            0);
}

TEST_F(WorkspaceCheck, WhatUsesNoWorkspaceIsNotLookedAt) {
  const cuda::StreamHandle one(driver);
  fake.hold_stream(one.get());
  kernel->launch(one.get(), decode_args());
  auto unsplit = decode_args();
  unsplit.num_splits = 1;
  ASSERT_EQ(kernel->workspace_bytes(unsplit), 0U);
  kernel->launch(nullptr, unsplit);
  runtime->launch({}, nullptr, test::forward_args());
  EXPECT_EQ(fake.call_count("cuEventCreate"), 1U);
}

TEST_F(WorkspaceCheck, OffItCallsNothing) {
  const Runtime off(options());
  const auto unchecked = off.decode({});
  const cuda::StreamHandle one(driver);
  fake.hold_stream(one.get());
  for (int i = 0; i < 10; ++i) {
    unchecked.launch(one.get(), decode_args());
    unchecked.launch(nullptr, decode_args());
  }
  EXPECT_EQ(fake.launch_count(), 20);
  for (const char* function : {"cuCtxGetId", "cuStreamGetId", "cuEventCreate", "cuEventRecord", "cuEventQuery"}) {
    EXPECT_EQ(fake.call_count(function), 0U) << function;
  }
}

}  // namespace
}  // namespace kiln
