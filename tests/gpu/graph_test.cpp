// CUDA graphs: what a serving engine captures once and replays for every token.
#include "cuda/graph.hpp"

#include "gpu/decode_call.hpp"
#include "gpu/driver_extras.hpp"
#include "gpu/forward_call.hpp"
#include "support/expect_error.hpp"

#include <functional>
#include <thread>

namespace kiln::test {
namespace {

class GraphTest : public GpuTest {
 protected:
  /// A Runtime that keeps nothing on disk, so that a kernel not asked for is not there.
  static Runtime cold_runtime() {
    Options options = Options::from_environment();
    options.cache_dir = std::filesystem::path{};
    options.precompiled.reset();
    return Runtime(options);
  }
};

/// Calls that differ in how keys are shared out, where they lie and how many queries there are.
std::vector<DecodeCase> captured_cases() {
  return {
      {.max_len_k = 2000, .lengths = {2000, 1, 999}},
      {.max_len_k = 2000, .lengths = {2000, 1, 999}, .num_splits = 1},
      {.max_len_k = 2000, .lengths = {2000, 1, 999}, .num_splits = 8},
      {.max_len_k = 2000, .lengths = {2000, 1, 999}, .split_size = 300},
      {.len_q = 16, .max_len_k = 2000, .lengths = {2000, 1, 999}, .tree = Tree::branches},
      {.config = {.causal = true, .ragged = true, .paged = true},
       .len_q = 300,
       .max_len_k = 2000,
       .lengths = {2000, 1, 999},
       .tokens = {.cu = {0, 1, 2, 302}, .total = 302}},
  };
}

TEST_F(GraphTest, ADecodeCallIsOneKernelNode) {
  for (const DecodeCase& test : captured_cases()) {
    DecodeCall call(test);
    call.upload();
    call.launch(stream());  // makes kernel and workspace
    synchronize();
    const auto nodes = captured_nodes(*Gpu::driver(), stream(), [&] { call.launch(stream()); });
    EXPECT_EQ(nodes.kernels, 1U) << description(test);
    EXPECT_EQ(nodes.others, 0U) << description(test);
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

/// Captures the call as it is, and replays it with each of these lists and its page table as `change` leaves it.
void expect_replays_follow(DecodeCall& call, Stream stream, const std::vector<DecodeCase>& rounds,
                           const std::function<void(DecodeCall&)>& change) {
  call.upload();
  call.launch(stream);
  EXPECT_TRUE(call.matches_reference());
  cuda::StreamCapture capture(Gpu::driver(), stream);
  call.launch(stream);
  const cuda::Graph graph = capture.finish();
  for (const DecodeCase& round : rounds) {
    call.set_lists(round);
    change(call);
    call.upload_page_table();
    graph.launch(stream);
    EXPECT_TRUE(call.matches_reference()) << description(round);
  }
}

TEST_F(GraphTest, ADecodeReplayFollowsNewTokensAndPages) {
  for (const int split_size : {0, 200}) {
    DecodeCase test{.config = {.causal = true, .ragged = true, .paged = true},
                    .len_q = 40,
                    .max_len_k = 1200,
                    .lengths = {1200, 1200, 1200, 1200},
                    .split_size = split_size,
                    .tokens = {.cu = {0, 20, 40, 60, 80}, .total = 80}};
    DecodeCall call(test);
    std::vector<DecodeCase> rounds;
    const auto round = [&](std::vector<std::int32_t> lengths, std::vector<std::int32_t> cu) {
      test.lengths = std::move(lengths);
      test.tokens.cu = std::move(cu);
      rounds.push_back(test);
    };
    round({1, 600, 0, 1199}, {0, 1, 2, 3, 4});
    round({40, 1200, 64, 65}, {0, 40, 41, 41, 80});
    round({0, 0, 0, 0}, {0, 1, 2, 3, 4});
    round({1200, 3, 700, 800}, {5, 5, 5, 5, 6});
    round({1200, 1200, 1200, 1200}, {0, 20, 40, 60, 80});
    // Pages are exchanged, among the sequences too.
    expect_replays_follow(call, stream(), rounds, [](DecodeCall& each) {
      std::vector<std::int32_t*> used;
      for (std::int32_t& page : each.page_table)
        if (page != kNoPage) used.push_back(&page);
      const std::int32_t last = *used.back();
      for (std::size_t i = used.size() - 1; i > 0; --i) *used[i] = *used[i - 1];
      *used.front() = last;
    });
  }
}

TEST_F(GraphTest, ADecodeReplayFollowsListsOfPages) {
  DecodeCase test{.config = {.paged = true},
                  .len_q = 2,
                  .max_len_k = 600,
                  .lengths = {600, 600, 600},
                  .page_lists = {.indptr = {0, 30, 60, 90}, .last_page_len = {16, 16, 16}}};
  DecodeCall call(test);
  std::vector<DecodeCase> rounds;
  for (const PageLists& lists : {PageLists{{0, 10, 10, 90}, {3, 16, 9}}, PageLists{{60, 61, 62, 63}, {1, 2, 16}},
                                 PageLists{{0, 38, 76, 90}, {16, 8, 1}}, PageLists{{7, 7, 7, 7}, {16, 1, 1}}}) {
    test.page_lists = lists;
    rounds.push_back(test);
  }
  expect_replays_follow(call, stream(), rounds, [](DecodeCall&) {});
}

TEST_F(GraphTest, ADecodeReplayFollowsRowsAndPadding) {
  DecodeCase test{.config = {.causal = true},
                  .len_q = 3,
                  .max_len_k = 600,
                  .lengths = {600, 600, 600},
                  .cache_rows = {2, 1, 0},
                  .left_padding = {0, 0, 0}};
  DecodeCall call(test);
  std::vector<DecodeCase> rounds;
  for (const auto& [rows, padding] :
       {std::pair<std::vector<std::int32_t>, std::vector<std::int32_t>>{{0, 0, 1}, {5, 64, 599}},
        {{-1, 2, -1}, {0, 600, 0}},
        {{1, 2, 0}, {1, 130, -1}}}) {
    test.cache_rows = rows;
    test.left_padding = padding;
    rounds.push_back(test);
  }
  expect_replays_follow(call, stream(), rounds, [](DecodeCall&) {});
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
