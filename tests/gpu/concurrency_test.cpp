// Repeats, streams, contexts, threads, devices.
#include "gpu/decode_call.hpp"
#include "gpu/driver_extras.hpp"
#include "gpu/forward_call.hpp"

#include <algorithm>
#include <span>
#include <thread>

namespace kiln::test {
namespace {

class Concurrency : public GpuTest {};

/// NaN included: where a call writes nothing.
bool same_bits(std::span<const float> a, std::span<const float> b) {
  return std::ranges::equal(std::as_bytes(a), std::as_bytes(b));
}

/// Copies of the first result that differ from it must not exist in `repeats` launches.
template <class Call>
void expect_same_bits(Call& call, Stream stream, int repeats) {
  call.upload();
  call.launch(stream);
  EXPECT_TRUE(call.matches_reference());
  const auto first = call.out.elements();
  const auto first_lse = call.lse.download();
  for (int i = 0; i < repeats; ++i) {
    call.launch(stream);
    Gpu::synchronize();
    call.out.download();
    ASSERT_TRUE(call.out.elements() == first) << "repeat " << i << "\n  repro: " << repro();
    ASSERT_TRUE(same_bits(call.lse.download(), first_lse)) << "repeat " << i << "\n  repro: " << repro();
  }
}

TEST_F(Concurrency, AThousandForwardCallsGiveTheSameBits) {
  ForwardCall call({.config = {.causal = true}, .batch = 3, .len_q = 300, .len_k = 333, .heads_q = 8, .heads_kv = 4});
  expect_same_bits(call, stream(), 1000);
}

TEST_F(Concurrency, AThousandForwardCallsOfRaggedPagedSequencesGiveTheSameBits) {
  ForwardCall call(
      {.config = {.causal = true, .sinks = true, .ragged = true, .paged = true},
       .batch = 5,
       .len_q = 200,
       .len_k = 500,
       .heads_q = 8,
       .heads_kv = 2,
       .sequences = {.cu_q = {0, 200, 201, 201, 330, 331}, .used_k = {350, 500, 70, 129, 1}, .total_q = 331},
       .page_size = 5});
  expect_same_bits(call, stream(), 1000);
}

TEST_F(Concurrency, AThousandDecodeCallsGiveTheSameBits) {
  // 20 splits of 3 sequences: which block comes last, and merges, changes from run to run.
  DecodeCall call({.max_len_k = 3000, .lengths = {3000, 2999, 517}, .num_splits = 20});
  expect_same_bits(call, stream(), 1000);
}

TEST_F(Concurrency, TwoStreamsWithAWorkspaceEach) {
  const cuda::StreamHandle other(Gpu::driver());
  DecodeCall one({.max_len_k = 3000, .lengths = {3000, 17}, .num_splits = 16});
  DecodeCall two({.max_len_k = 2000, .lengths = {1999, 1000}, .num_splits = 12});
  one.upload();
  two.upload();
  const Judge judge_one(one.problem());
  const Judge judge_two(two.problem());
  for (int i = 0; i < 200; ++i) {
    one.launch(stream());
    two.launch(other.get());
  }
  EXPECT_TRUE(one.matches(judge_one));
  EXPECT_TRUE(two.matches(judge_two));
}

TEST_F(Concurrency, TwoStreamsInOneWorkspaceAreFoundWhereAsked) {
  Options options = Options::from_environment();
  options.check_workspaces = true;
  const Runtime checking(options);
  const cuda::StreamHandle other(Gpu::driver());
  DecodeCall call({.max_len_k = 3000, .lengths = {3000, 17}, .num_splits = 16});
  call.upload();
  call.launch(other.get(), checking);
  other.synchronize();
  // Some 20 ms of work, so that the call behind it has not finished when the next one comes.
  constexpr int kFills = 256;
  cuda::DeviceBuffer work(Gpu::driver(), std::size_t{256} << 20U);
  for (int i = 0; i < kFills; ++i) work.fill_async(std::byte{0}, stream());
  call.launch(stream(), checking);
  call.launch(stream(), checking);
  try {
    call.launch(other.get(), checking);
    ADD_FAILURE() << "not found";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument) << error.what();
    EXPECT_NE(std::string_view(error.what()).find("two streams share a workspace"), std::string_view::npos)
        << error.what();
  }
  EXPECT_EQ(captured_nodes(*Gpu::driver(), other.get(), [&] { call.launch(other.get(), checking); }).kernels, 1U)
      << "a captured call passes unseen";
  synchronize();
  call.launch(other.get(), checking);
  EXPECT_TRUE(call.matches_reference());
}

TEST_F(Concurrency, TheDefaultStreamWorks) {
  ForwardCall call({.len_q = 70, .len_k = 70});
  call.upload();
  call.launch(nullptr);
  EXPECT_TRUE(call.matches_reference());
}

TEST_F(Concurrency, AHandleLaunchesInAnotherContext) {
  const ForwardKernel kernel = Gpu::runtime().forward({});
  const void* const before = current_context(*Gpu::driver());
  {
    const SecondContext context(Gpu::driver());
    const void* const second = current_context(*Gpu::driver());
    ASSERT_NE(second, before);
    const cuda::StreamHandle its_stream(Gpu::driver());
    ForwardCall call({.len_q = 100, .len_k = 130});
    call.upload();
    kernel.launch(its_stream.get(), call.args());
    its_stream.synchronize();
    EXPECT_EQ(current_context(*Gpu::driver()), second) << "a launch must not change the current context";
    EXPECT_TRUE(call.matches_reference());
    const Runtime born_here;
    static_cast<void>(born_here.decode({}));
    EXPECT_EQ(current_context(*Gpu::driver()), second) << "nor a Runtime";
  }
  EXPECT_EQ(current_context(*Gpu::driver()), before);
}

TEST_F(Concurrency, AHandleOutlivesContextsItWasUsedIn) {
  const ForwardKernel kernel = Gpu::runtime().forward({});
  for (int i = 0; i < 3; ++i) {
    const SecondContext context(Gpu::driver());
    const cuda::StreamHandle its_stream(Gpu::driver());
    ForwardCall call({.len_q = 100, .len_k = 130});
    call.upload();
    kernel.launch(its_stream.get(), call.args());
    its_stream.synchronize();
    EXPECT_TRUE(call.matches_reference()) << "context " << i;
  }
}

TEST_F(Concurrency, ABackgroundPreparationCanBeCancelled) {
  Options options = Options::from_environment();
  options.cache_dir = std::filesystem::path{};
  options.precompiled.reset();
  options.device = 0;
  const Runtime runtime(options);
  const auto preparation = runtime.prepare_async(std::vector<KernelRequest>(1));
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  preparation.cancel();
  try {
    preparation.wait();  // on a fast machine it may have been done
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::cancelled) << error.what();
  }
  ForwardCall call({.len_q = 70, .len_k = 70});
  call.upload();
  call.launch(stream(), runtime);
  EXPECT_TRUE(call.matches_reference());
}

TEST_F(Concurrency, AHandleOutlivesItsRuntime) {
  std::optional<ForwardKernel> kernel;
  {
    const Runtime runtime;
    kernel = runtime.forward({});
  }
  ForwardCall call({.len_q = 70, .len_k = 70});
  call.upload();
  kernel->launch(stream(), call.args());
  EXPECT_TRUE(call.matches_reference());
}

TEST_F(Concurrency, SixteenThreadsShareOneColdRuntime) {
  Options options = Options::from_environment();
  options.cache_dir = std::filesystem::path{};
  options.precompiled.reset();
  const Runtime runtime(options);
  constexpr int kThreads = 16;
  const std::vector<AttentionConfig> configs = {{}, {.causal = true}, {.head_dim_qk = 64, .head_dim_v = 64}};
  const auto work = [&](int t) {
    const cuda::Context current(Gpu::driver(), 0);
    const cuda::StreamHandle own(Gpu::driver());
    const AttentionConfig& config = configs[static_cast<std::size_t>(t) % configs.size()];
    ForwardCall prefill({.config = config, .len_q = 50 + t, .len_k = 90});
    DecodeCall step({.config = config, .max_len_k = 300 + t, .lengths = {300, t}});
    prefill.upload();
    step.upload();
    for (int i = 0; i < 20; ++i) {
      prefill.launch(own.get(), runtime);
      step.launch(own.get(), runtime);
    }
    own.synchronize();
    EXPECT_TRUE(prefill.matches_reference());
    EXPECT_TRUE(step.matches_reference());
  };
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t)
      threads.emplace_back([&, t] {
        try {
          work(t);
        } catch (const std::exception& error) {
          ADD_FAILURE() << "thread " << t << ": " << error.what();
        }
      });
  }
  constexpr std::size_t kShared = 1;  // decode, causal or not
  EXPECT_EQ(runtime.stats().compiles, 2 * configs.size() - kShared) << "one compile a kernel, however many threads ask";
  EXPECT_EQ(runtime.stats().launches, 2U * 20 * kThreads);
}

TEST_F(Concurrency, TwoDevicesServeTwoRuntimes) {
  if (Gpu::driver()->device_count() < 2) GTEST_SKIP() << "needs two GPUs";
  Options options = Options::from_environment();
  options.device = 1;
  const Runtime second(options);
  const cuda::Context current(Gpu::driver(), 1);
  const cuda::StreamHandle its_stream(Gpu::driver());
  ForwardCall call({.len_q = 100, .len_k = 130});
  call.upload();
  call.launch(its_stream.get(), second);
  its_stream.synchronize();
  current.synchronize();
  EXPECT_TRUE(call.matches_reference());
}

}  // namespace
}  // namespace kiln::test
