// What the tool, the tuner and GPU tests hold: contexts, memory, streams, events, graphs.
#include "cuda/context.hpp"
#include "cuda/device_memory.hpp"
#include "cuda/driver_functions.hpp"
#include "cuda/fake_driver.hpp"
#include "cuda/graph.hpp"
#include "cuda/stream.hpp"

#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace kiln::cuda {
namespace {

using ResourcesTest = FakeDriverTest;

TEST_F(ResourcesTest, AContextRestoresWhatWasCurrent) {
  const FakeContext outer(fake, 1);
  void* const before = fake.context_current();
  {
    const Context context(driver, 0);
    EXPECT_EQ(driver->current_device(), 0);
    EXPECT_EQ(fake.retained_contexts(), 1);
    const Context again(driver, 0);
    EXPECT_EQ(fake.retained_contexts(), 2);
  }
  EXPECT_EQ(fake.context_current(), before);
  EXPECT_EQ(fake.retained_contexts(), 0);
}

TEST_F(ResourcesTest, AContextThatCannotBecomeCurrentIsReleased) {
  fake.fail("cuCtxPushCurrent", CUDA_ERROR_UNKNOWN);
  EXPECT_THAT(error_of(ErrorCode::cuda, [&] { const Context context(driver, 0); }),
              HasSubstr("making a context current"));
  EXPECT_EQ(fake.retained_contexts(), 0);
}

TEST_F(ResourcesTest, AnUnknownDeviceHasNoContext) {
  EXPECT_THAT(error_of(ErrorCode::cuda, [&] { const Context context(driver, 2); }),
              HasSubstr("CUDA_ERROR_INVALID_DEVICE"));
}

TEST_F(ResourcesTest, MemoryHoldsWhatWasPutIn) {
  const Context context(driver, 0);
  const std::vector<int> values = {1, 2, 3, 4};
  const auto buffer = DeviceBuffer::of(driver, std::span<const int>(values));
  EXPECT_EQ(buffer.size_bytes(), 16U);
  std::vector<int> back(2);
  buffer.download(std::as_writable_bytes(std::span(back)), 4);
  EXPECT_THAT(back, testing::ElementsAre(2, 3));
}

TEST_F(ResourcesTest, FillsReachEveryByte) {
  const Context context(driver, 0);
  const StreamHandle stream(driver);
  DeviceBuffer buffer(driver, 5);
  std::vector<std::byte> back(5);
  buffer.fill(std::byte{7});
  buffer.download(back);
  EXPECT_THAT(back, testing::Each(std::byte{7}));
  buffer.fill_async(std::byte{9}, stream.get());
  stream.synchronize();
  buffer.download(back);
  EXPECT_THAT(back, testing::Each(std::byte{9}));
}

TEST_F(ResourcesTest, WhatDoesNotFitIsRefused) {
  const Context context(driver, 0);
  DeviceBuffer buffer(driver, 8);
  std::vector<std::byte> nine(9);
  std::vector<std::byte> one(1);
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { buffer.upload(nine); }),
              HasSubstr("9 bytes at offset 0 don't fit into a device buffer of 8 bytes"));
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { buffer.download(one, 8); }), HasSubstr("offset 8"));
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { buffer.upload(one, SIZE_MAX); }), HasSubstr("offset"));
}

TEST_F(ResourcesTest, MemoryIsFreedOnceHoweverItMoves) {
  const Context context(driver, 0);
  {
    DeviceBuffer first(driver, 100);
    DeviceBuffer second(std::move(first));
    first = DeviceBuffer(driver, 200);
    second = std::move(first);
    EXPECT_EQ(second.size_bytes(), 200U);
    const DeviceBuffer empty(driver, 0);
    EXPECT_EQ(empty.data(), nullptr);
  }
  EXPECT_EQ(fake.live_allocations(), 0);
  EXPECT_EQ(fake.call_count("cuMemFree"), 2U);
}

TEST_F(ResourcesTest, OutOfMemoryNamesTheSize) {
  const Context context(driver, 0);
  const auto total = context.memory().total_bytes;
  const DeviceBuffer half(driver, total / 2);
  EXPECT_EQ(context.memory().free_bytes, total - total / 2);
  EXPECT_THAT(error_of(ErrorCode::cuda, [&] { DeviceBuffer(driver, total); }),
              AllOf(HasSubstr("allocating 1073741824 bytes"), HasSubstr("CUDA_ERROR_OUT_OF_MEMORY (2)"),
                    HasSubstr("nvidia-smi")));
  EXPECT_EQ(fake.live_allocations(), 1);
}

TEST_F(ResourcesTest, MemoryNeedsAContext) {
  EXPECT_THAT(error_of(ErrorCode::cuda, [&] { DeviceBuffer(driver, 1); }), HasSubstr("CUDA_ERROR_INVALID_CONTEXT"));
}

TEST_F(ResourcesTest, EventsTimeWhatLiesBetweenThem) {
  const Context context(driver, 0);
  const StreamHandle stream(driver);
  const auto module = load_module();
  const SampleParams params{};
  fake.set_launch_ms(0.25);
  Event begin(driver);
  Event end(driver);
  begin.record(stream.get());
  for (int i = 0; i < 3; ++i) module->launch({}, stream.get(), &params);
  end.record(stream.get());
  EXPECT_DOUBLE_EQ(milliseconds_between(begin, end), 0.75);
  const Event never(driver);
  EXPECT_THAT(error_of(ErrorCode::cuda, [&] { milliseconds_between(begin, never); }), HasSubstr("timing two events"));
}

TEST_F(ResourcesTest, AnEventIsReachedWhenItsStreamIsThere) {
  const Context context(driver, 0);
  const StreamHandle stream(driver);
  const StreamHandle other(driver);
  Event event(driver);
  EXPECT_TRUE(event.reached()) << "never recorded: nothing to wait for";
  fake.hold_stream(stream.get());
  event.record(stream.get());
  EXPECT_FALSE(event.reached());
  {
    StreamCapture capture(driver, other.get(), CaptureMode::global);
    EXPECT_FALSE(event.reached());
    (void)capture.finish();
  }
  fake.release_stream(stream.get());
  EXPECT_TRUE(event.reached());
  fake.fail("cuEventQuery", CUDA_ERROR_ILLEGAL_ADDRESS);
  EXPECT_TRUE(event.reached()) << "nobody need wait for it any more";
}

TEST_F(ResourcesTest, AnEventThatIsLeftIsItsContextsToDestroy) {
  void* const context = fake.context_create(0);
  fake.context_set_current(context);
  {
    Event event(driver);
    event.leave();
  }
  EXPECT_EQ(fake.live_events(), 1);
  EXPECT_EQ(fake.call_count("cuEventDestroy"), 0U);
  fake.context_destroy(context);
  EXPECT_EQ(fake.live_events(), 0);
}

TEST_F(ResourcesTest, ContextsAndStreamsHaveNumbersOfTheirOwn) {
  EXPECT_EQ(driver->current_context_id(), std::nullopt);
  const FakeContext one(fake, 0);
  const auto first = driver->current_context_id();
  const StreamHandle stream(driver);
  EXPECT_NE(driver->stream_id(stream.get()), driver->stream_id(nullptr));
  EXPECT_EQ(driver->stream_id(CU_STREAM_LEGACY), driver->stream_id(nullptr));
  const FakeContext two(fake, 0);
  EXPECT_TRUE(first.has_value());
  EXPECT_NE(driver->current_context_id(), first);
}

TEST_F(ResourcesTest, AGraphRunsWhatWasCaptured) {
  const Context context(driver, 0);
  const StreamHandle stream(driver);
  const auto module = load_module();
  const SampleParams params{};
  DeviceBuffer buffer(driver, 4);
  buffer.fill(std::byte{0});
  StreamCapture capture(driver, stream.get());
  module->launch({}, stream.get(), &params);
  buffer.fill_async(std::byte{1}, stream.get());
  const Graph graph = capture.finish();
  std::vector<std::byte> back(4);
  buffer.download(back);
  EXPECT_THAT(back, testing::Each(std::byte{0})) << "captured, not run";
  graph.launch(stream.get());
  graph.launch(stream.get());
  buffer.download(back);
  EXPECT_THAT(back, testing::Each(std::byte{1}));
  EXPECT_EQ(fake.launch_count(), 3);
  EXPECT_EQ(fake.launch(0).captured, 1);
  EXPECT_EQ(fake.launch(1).replayed, 1);
}

TEST_F(ResourcesTest, AnAbandonedCaptureIsDiscarded) {
  const Context context(driver, 0);
  const StreamHandle stream(driver);
  {
    const StreamCapture capture(driver, stream.get());
  }
  EXPECT_FALSE(driver->capturing(stream.get()));
  EXPECT_EQ(fake.live_graphs(), 0);
  stream.synchronize();
}

TEST_F(ResourcesTest, ABrokenCaptureIsReportedAtItsEnd) {
  const Context context(driver, 0);
  const StreamHandle stream(driver);
  StreamCapture capture(driver, stream.get());
  EXPECT_THAT(error_of(ErrorCode::cuda, [&] { DeviceBuffer(driver, 1); }),
              HasSubstr("not allowed while a stream of the context is being captured"));
  EXPECT_THAT(error_of(ErrorCode::cuda, [&] { capture.finish(); }), HasSubstr("an earlier call broke the capture"));
}

TEST_F(ResourcesTest, AGlobalCaptureForbidsUnsafeCallsOfOtherThreadsOnly) {
  const Context context(driver, 0);
  const StreamHandle stream(driver);
  const auto allocate_elsewhere = [&] {
    bool allowed = true;
    std::jthread([&] {
      const Context here(driver, 0);
      try {
        DeviceBuffer(driver, 1);
      } catch (const Error&) {
        allowed = false;
      }
    }).join();
    return allowed;
  };
  {
    const StreamCapture capture(driver, stream.get(), CaptureMode::this_thread);
    EXPECT_TRUE(allocate_elsewhere());
  }
  const StreamCapture capture(driver, stream.get(), CaptureMode::global);
  EXPECT_FALSE(allocate_elsewhere());
}

TEST_F(ResourcesTest, NothingIsLeft) {
  {
    const Context context(driver, 0);
    const StreamHandle stream(driver);
    Event first(driver);
    Event second = std::move(first);
    second = Event(driver);
    StreamCapture capture(driver, stream.get());
    Graph graph = capture.finish();
    const Graph moved = std::move(graph);
    EXPECT_EQ(fake.live_graphs(), 1) << "the template of the executable graph is gone";
  }
  EXPECT_EQ(fake.live_streams(), 0);
  EXPECT_EQ(fake.live_events(), 0);
  EXPECT_EQ(fake.live_graphs(), 0);
  EXPECT_EQ(fake.retained_contexts(), 0);
  EXPECT_EQ(fake.context_depth(), 0);
}

}  // namespace
}  // namespace kiln::cuda
