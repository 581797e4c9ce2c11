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

/// Captures the call as it is, and replays it with each of these lengths.
void expect_replays_follow(ForwardCall& call, Stream stream, const std::vector<SequenceCase>& rounds) {
  call.upload();
  call.launch(stream);
  EXPECT_TRUE(call.matches_reference());
  cuda::StreamCapture capture(Gpu::driver(), stream);
  call.launch(stream);
  const cuda::Graph graph = capture.finish();
  for (std::size_t i = 0; i < rounds.size(); ++i) {
    call.set_sequences(rounds[i]);
    graph.launch(stream);
    EXPECT_TRUE(call.matches_reference()) << "round " << i;
  }
}

TEST_F(GraphTest, AForwardReplayFollowsTheLengthsInUse) {
  ForwardCall call({.config = {.causal = true, .ragged = true},
                    .batch = 3,
                    .len_q = 150,
                    .len_k = 400,
                    .heads_q = 4,
                    .sequences = {.used_q = {150, 150, 150}, .used_k = {400, 400, 400}}});
  expect_replays_follow(call, stream(),
                        {{.used_q = {1, 1, 1}, .used_k = {1, 2, 3}},
                         {.used_q = {150, 0, 64}, .used_k = {400, 400, 64}},
                         {.used_q = {0, 0, 0}, .used_k = {0, 0, 0}},
                         {.used_q = {129, 128, 127}, .used_k = {7, 0, 399}}});
}

TEST_F(GraphTest, AForwardReplayFollowsPackedLengths) {
  // Rows behind the last sequence belong to nobody: a batch that shrank.
  ForwardCall call({.config = {.ragged = true},
                    .batch = 4,
                    .len_q = 300,
                    .len_k = 600,
                    .heads_q = 6,
                    .sequences = {.cu_q = {0, 75, 150, 225, 300}, .cu_k = {0, 150, 300, 450, 600}, .total_q = 300}});
  expect_replays_follow(call, stream(),
                        {{.cu_q = {0, 0, 300, 300, 300}, .cu_k = {0, 600, 600, 600, 600}, .total_q = 300},
                         {.cu_q = {0, 300, 300, 300, 300}, .cu_k = {0, 600, 600, 600, 600}, .total_q = 300},
                         {.cu_q = {0, 1, 2, 3, 4}, .cu_k = {0, 1, 65, 130, 600}, .total_q = 300},
                         {.cu_q = {0, 0, 0, 0, 0}, .cu_k = {0, 1, 65, 130, 600}, .total_q = 300},
                         {.cu_q = {10, 139, 139, 267, 300}, .cu_k = {3, 3, 200, 400, 599}, .total_q = 300}});
}

TEST_F(GraphTest, AForwardReplayFollowsTheKeysInPages) {
  ForwardCall call({.config = {.causal = true, .ragged = true, .paged = true},
                    .batch = 3,
                    .len_q = 20,
                    .len_k = 400,
                    .heads_q = 8,
                    .sequences = {.cu_q = {0, 20, 40, 60}, .used_k = {400, 400, 400}, .total_q = 60}});
  expect_replays_follow(call, stream(),
                        {{.cu_q = {0, 1, 2, 3}, .used_k = {17, 399, 1}, .total_q = 60},
                         {.cu_q = {0, 20, 20, 40}, .used_k = {20, 0, 333}, .total_q = 60}});
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
