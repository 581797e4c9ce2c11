// Decode where attention kernels usually break: lengths, splits, the workspace.
#include "gpu/decode_call.hpp"
#include "support/half.hpp"

#include <cmath>
#include <limits>

namespace kiln::test {
namespace {

class DecodeEdges : public GpuTest, public ::testing::WithParamInterface<DType> {
 protected:
  [[nodiscard]] AttentionConfig config() const { return {.dtype = GetParam()}; }
};

INSTANTIATE_TEST_SUITE_P(Types, DecodeEdges, ::testing::Values(DType::bf16, DType::f16),
                         [](const auto& test) { return test.param == DType::f16 ? "f16" : "bf16"; });

TEST_P(DecodeEdges, SequencesWithoutKeysAreZeroWithLseMinusInfinity) {
  for (const int splits : {1, 5}) {
    DecodeCall call({.config = config(), .max_len_k = 500, .lengths = {0, 500, 0}, .num_splits = splits});
    call.upload();
    call.launch(stream());
    EXPECT_TRUE(call.matches_reference());
    const std::vector<float> lse = call.lse.download();
    for (const int b : {0, 2})
      for (int head = 0; head < 8; ++head) {
        ASSERT_EQ(*call.out.view().at(b, 0, head), 0);
        ASSERT_EQ(lse[static_cast<std::size_t>(b * 8 + head)], -std::numeric_limits<float>::infinity());
      }
  }
}

TEST_P(DecodeEdges, EveryNumberOfSplitsGivesTheSameAnswer) {
  DecodeCall call({.config = config(), .max_len_k = 2100, .lengths = {2100, 1, 65, 1023, 0}});
  call.upload();
  const Judge judge(call.problem());
  for (int splits = 1; splits <= 40; ++splits) {
    call.test.num_splits = splits;
    call.set_lists(call.test);  // a row that nobody merges stays NaN
    call.launch(stream());
    EXPECT_TRUE(call.matches(judge)) << splits << " splits";
  }
  for (const int splits : {100, 257, 1000}) {  // more than there are tiles
    call.test.num_splits = splits;
    call.set_lists(call.test);  // a row that nobody merges stays NaN
    call.launch(stream());
    EXPECT_TRUE(call.matches(judge)) << splits << " splits";
  }
}

TEST_P(DecodeEdges, EverySizeOfSplitsGivesTheSameAnswer) {
  DecodeCall call({.config = config(), .max_len_k = 2100, .lengths = {2100, 1, 65, 1023, 0}});
  call.upload();
  const Judge judge(call.problem());
  for (const int size : {1, 16, 64, 65, 100, 128, 129, 1000, 2099, 2100, 5000}) {
    call.test.split_size = size;
    call.set_lists(call.test);  // a row that nobody merges stays NaN
    call.launch(stream());
    EXPECT_TRUE(call.matches(judge)) << "splits of " << size;
  }
}

// From a share's ninth tile on a block has less under way, and makes up for it behind the share.
TEST_P(DecodeEdges, BlocksOfSeveralLongSharesAreRight) {
  std::vector<std::int32_t> lengths;
  for (int b = 0; b < 40; ++b) lengths.push_back(b % 5 == 0 ? 100 + b : 1700 - 7 * b);
  DecodeCall call({.config = config(), .max_len_k = 1700, .heads_q = 16, .heads_kv = 16, .lengths = lengths});
  call.upload();
  call.launch(stream());
  EXPECT_TRUE(call.matches_reference());
}

TEST_P(DecodeEdges, TheWorkspaceServesCallAfterCallWithoutZeroing) {
  // Two shapes share one workspace of the larger's size, as layers of a model do.
  DecodeCall large({.config = config(), .max_len_k = 1500, .lengths = {1500, 40, 333}, .num_splits = 9});
  DecodeCall small({.config = config(), .max_len_k = 700, .heads_q = 4, .lengths = {650}, .num_splits = 3});
  large.upload();
  small.upload();
  DecodeArgs large_args = large.args();
  DecodeArgs small_args = small.args();
  const DecodeKernel kernel = Gpu::runtime().decode(config());
  const cuda::DeviceBuffer workspace = make_workspace(kernel, large_args);
  small_args.workspace = large_args.workspace;
  small_args.workspace_bytes = large_args.workspace_bytes;
  const Judge large_judge(large.problem());
  const Judge small_judge(small.problem());
  for (int round = 0; round < 100; ++round) {
    kernel.launch(stream(), large_args);
    kernel.launch(stream(), small_args);
  }
  synchronize();
  large.set_lists(large.test);  // a row that nobody merges stays NaN
  small.set_lists(small.test);
  kernel.launch(stream(), large_args);
  kernel.launch(stream(), small_args);
  EXPECT_TRUE(large.matches(large_judge));
  EXPECT_TRUE(small.matches(small_judge));
}

TEST_P(DecodeEdges, TheWorkspaceSizeIsExact) {
  DecodeCall call({.config = config(), .max_len_k = 1500, .lengths = {1500, 40}, .num_splits = 9});
  call.upload();
  const DecodeKernel kernel = Gpu::runtime().decode(config());
  DecodeArgs args = call.args();
  const std::size_t bytes = kernel.workspace_bytes(args);
  ASSERT_GT(bytes, 0U);
  constexpr std::size_t kGuard = 4096;
  cuda::DeviceBuffer workspace(Gpu::driver(), bytes + kGuard);
  workspace.fill(std::byte{0});
  const std::vector<std::byte> pattern(kGuard, std::byte{0xa5});
  workspace.upload(pattern, bytes);
  args.workspace = workspace.data();
  args.workspace_bytes = bytes;
  kernel.launch(stream(), args);
  EXPECT_TRUE(call.matches_reference());
  std::vector<std::byte> behind(kGuard);
  workspace.download(behind, bytes);
  EXPECT_EQ(behind, pattern) << "the kernel wrote behind its workspace";
}

TEST_P(DecodeEdges, OneSplitNeedsNoWorkspace) {
  DecodeCall call({.config = config(), .max_len_k = 300, .lengths = {300}, .num_splits = 1});
  call.upload();
  EXPECT_EQ(Gpu::runtime().decode(config()).workspace_bytes(call.args()), 0U);
  Gpu::runtime().decode(config()).launch(stream(), call.args());
  EXPECT_TRUE(call.matches_reference());
}

TEST_P(DecodeEdges, AHugeNegativeScoreGivesItsValueExactly) {
  for (const int splits : {1, 4}) {
    DecodeCall call({.config = config(), .max_len_k = 200, .lengths = {1}, .num_splits = splits});
    call.q.fill(0);
    call.k.fill(0);
    // The usual scale of 1/√128 applies, so the scaled score is −46341.
    for (int head = 0; head < 8; ++head) *call.q.row(0, 0, head) = to_16(GetParam(), 1024);
    for (int head = 0; head < 2; ++head) *call.k.row(0, 0, head) = to_16(GetParam(), -512);
    call.upload();
    call.launch(stream());
    synchronize();
    call.out.download();
    for (int head = 0; head < 8; ++head)
      for (int c = 0; c < 128; ++c)
        ASSERT_EQ(call.out.view().at(0, 0, head)[c], call.v.view().at(0, 0, head / 4)[c]) << head << " " << c;
  }
}

TEST_P(DecodeEdges, AHugePositiveScoreTakesAllAcrossSplits) {
  DecodeCall call({.config = config(), .max_len_k = 1000, .lengths = {1000}, .num_splits = 7});
  call.q.fill(0);
  for (int head = 0; head < 8; ++head) *call.q.row(0, 0, head) = to_16(GetParam(), 2048);
  call.k.fill(0);
  for (int head = 0; head < 2; ++head) *call.k.row(0, 777, head) = to_16(GetParam(), 160);  // scaled: about +29000
  call.upload();
  call.launch(stream());
  synchronize();
  call.out.download();
  for (int head = 0; head < 8; ++head)
    for (int c = 0; c < 128; ++c)
      ASSERT_EQ(call.out.view().at(0, 0, head)[c], call.v.view().at(0, 777, head / 4)[c]) << head << " " << c;
}

TEST_P(DecodeEdges, CausalHidesNothingFromOneNewToken) {
  DecodeCall call({.config = config(), .max_len_k = 400, .lengths = {400, 77}, .num_splits = 3});
  call.upload();
  call.launch(stream());
  EXPECT_TRUE(call.matches_reference());
  const auto plain = call.out.elements();
  call.test.config.causal = true;
  call.launch(stream());
  synchronize();
  call.out.download();
  EXPECT_TRUE(call.out.elements() == plain);
}

TEST_P(DecodeEdges, AtTheTopLeftOneNewTokenSeesTheFirstKey) {
  AttentionConfig top_left = config();
  top_left.causal = true;
  top_left.alignment = Alignment::top_left;
  DecodeCall call({.config = top_left, .max_len_k = 400, .lengths = {400, 77}, .num_splits = 3});
  call.upload();
  call.launch(stream());
  EXPECT_TRUE(call.matches_reference());
  for (int c = 0; c < 128; ++c) ASSERT_EQ(call.out.get(0, 0, 7, c), call.v.get(0, 0, 1, c)) << c;
}

TEST_P(DecodeEdges, MoreQueryHeadsThanOneRowTileHolds) {
  DecodeCall call({.config = config(), .max_len_k = 300, .heads_q = 71, .heads_kv = 1, .lengths = {300, 41}});
  call.upload();
  call.launch(stream());
  EXPECT_TRUE(call.matches_reference());
}

TEST_P(DecodeEdges, ALargeBatchOfShortSequences) {
  std::vector<std::int32_t> lengths(3000);
  for (std::size_t b = 0; b < lengths.size(); ++b) lengths[b] = static_cast<std::int32_t>(b % 20);
  DecodeCase test{.config = config(), .max_len_k = 19, .heads_q = 4, .heads_kv = 1, .lengths = lengths};
  test.pass_lengths = true;
  DecodeCall call(test);
  call.upload();
  call.launch(stream());
  EXPECT_TRUE(call.matches_reference());
}

TEST_P(DecodeEdges, NothingToDoIsNoError) {
  const DecodeKernel kernel = Gpu::runtime().decode(config());
  DecodeArgs args{.heads_q = 4, .heads_kv = 2};
  for (const auto& [batch, len_q] : {std::pair{0, 1}, {0, 0}, {3, 0}}) {
    args.batch = batch;
    args.len_q = len_q;
    EXPECT_EQ(kernel.workspace_bytes(args), 0U) << batch << " " << len_q;
    EXPECT_NO_THROW(kernel.launch(stream(), args)) << batch << " " << len_q;
  }
}

TEST_P(DecodeEdges, ACacheWithoutRoomGivesZeros) {
  DecodeCall call({.config = config(), .max_len_k = 0, .lengths = {0, 0}});
  call.upload();
  call.launch(stream());
  EXPECT_TRUE(call.matches_reference());
}

}  // namespace
}  // namespace kiln::test
