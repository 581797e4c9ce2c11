// CUDA graphs: what a serving engine captures once and replays for every token.
#include "cuda/graph.hpp"

#include "gpu/decode_call.hpp"
#include "gpu/driver_extras.hpp"
#include "support/expect_error.hpp"

#include <thread>

namespace kiln::test {
namespace {

class GraphTest : public GpuTest {
 protected:
  /// A Runtime that keeps nothing on disk, so that a kernel not asked for is not there.
  static Runtime cold_runtime() {
    Options options = Options::from_environment();
    options.cache_dir = std::filesystem::path{};
    options.precompiled_dir.reset();
    return Runtime(options);
  }
};

TEST_F(GraphTest, ADecodeCallIsOneKernelNode) {
  for (const int splits : {0, 1, 8}) {
    DecodeCall call({.max_len_k = 2000, .lengths = {2000, 1, 999}, .num_splits = splits});
    call.upload();
    call.launch(stream());  // makes kernel and workspace
    synchronize();
    const auto nodes = captured_nodes(*Gpu::driver(), stream(), [&] { call.launch(stream()); });
    EXPECT_EQ(nodes.kernels, 1U) << splits << " splits";
    EXPECT_EQ(nodes.others, 0U) << splits << " splits";
  }
}

TEST_F(GraphTest, AForwardCallIsOneKernelNode) {
  ForwardCall call({.config = {.causal = true}, .len_q = 300, .len_k = 300});
  call.upload();
  call.launch(stream());
  synchronize();
  const auto nodes = captured_nodes(*Gpu::driver(), stream(), [&] { call.launch(stream()); });
  EXPECT_EQ(nodes.kernels, 1U);
  EXPECT_EQ(nodes.others, 0U);
}

TEST_F(GraphTest, AReplayFollowsTheLengthsOnTheDevice) {
  // The tails hold what each round needs: only rows beyond the longest are NaN.
  DecodeCall call({.max_len_k = 1200, .lengths = {1100, 1100, 1100}, .num_splits = 8});
  call.upload();
  call.launch(stream());
  synchronize();
  cuda::StreamCapture capture(Gpu::driver(), stream());
  call.launch(stream());
  const cuda::Graph graph = capture.finish();
  const std::vector<std::vector<std::int32_t>> rounds = {
      {1, 2, 3}, {1100, 0, 64}, {65, 1099, 800}, {0, 0, 0}, {7, 7, 7}};
  for (const auto& lengths : rounds) {
    call.set_lengths(lengths);
    graph.launch(stream());
    EXPECT_TRUE(call.matches_reference()) << ::testing::PrintToString(lengths);
  }
}

TEST_F(GraphTest, ManyReplaysKeepTheWorkspaceFit) {
  DecodeCall call({.max_len_k = 1200, .lengths = {1100, 70}, .num_splits = 8});
  call.upload();
  call.launch(stream());
  synchronize();
  cuda::StreamCapture capture(Gpu::driver(), stream());
  for (int i = 0; i < 10; ++i) call.launch(stream());
  const cuda::Graph graph = capture.finish();
  for (int i = 0; i < 100; ++i) graph.launch(stream());
  EXPECT_TRUE(call.matches_reference());
}

TEST_F(GraphTest, AKernelNotYetBuiltFailsInACapture) {
  const Runtime runtime = cold_runtime();
  const AttentionConfig config{.head_dim_qk = 64, .head_dim_v = 64};
  ForwardCall call({.config = config, .len_q = 20, .len_k = 20});
  call.upload();
  {
    cuda::StreamCapture capture(Gpu::driver(), stream());
    const auto words = test::error_of(ErrorCode::capturing, [&] { runtime.launch(config, stream(), call.args()); });
    EXPECT_THAT(words, ::testing::HasSubstr("bf16"));
    EXPECT_THAT(words, ::testing::HasSubstr("captur"));
    EXPECT_THAT(words, ::testing::HasSubstr("prepare"));
    static_cast<void>(capture.finish());  // the capture itself was not broken
  }
  EXPECT_EQ(runtime.stats().compiles, 0U);
  EXPECT_EQ(runtime.stats().launches, 0U);
  runtime.launch(config, stream(), call.args());  // and after it all is well
  EXPECT_TRUE(call.matches_reference());
}

TEST_F(GraphTest, PreparingOnAnotherThreadDuringACaptureLeavesItWhole) {
  const Runtime runtime = cold_runtime();
  const AttentionConfig config{.head_dim_qk = 64, .head_dim_v = 64};
  ForwardCall call({.config = config, .len_q = 20, .len_k = 20});
  call.upload();
  cuda::StreamCapture capture(Gpu::driver(), stream());
  std::thread([&] { runtime.prepare(std::vector<KernelRequest>{{KernelKind::forward, config}}); }).join();
  runtime.launch(config, stream(), call.args());
  capture.finish().launch(stream());
  EXPECT_TRUE(call.matches_reference());
}

TEST_F(GraphTest, AKernelAlreadyBuiltLaunchesByConfigInACapture) {
  ForwardCall call({.len_q = 20, .len_k = 20});
  call.upload();
  Gpu::runtime().launch(call.test.config, stream(), call.args());
  synchronize();
  cuda::StreamCapture capture(Gpu::driver(), stream());
  Gpu::runtime().launch(call.test.config, stream(), call.args());
  capture.finish().launch(stream());
  EXPECT_TRUE(call.matches_reference());
}

}  // namespace
}  // namespace kiln::test
