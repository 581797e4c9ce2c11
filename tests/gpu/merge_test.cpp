// Merging partial results of attention against float64.
#include "cuda/graph.hpp"
#include "gpu/driver_extras.hpp"
#include "gpu/forward_call.hpp"
#include "gpu/merge_call.hpp"
#include "gpu/numbered.hpp"

#include <limits>
#include <utility>

namespace kiln::test {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

class MergeCover : public GpuTest, public ::testing::WithParamInterface<MergeCase> {
 protected:
  static void SetUpTestSuite() {
    std::vector<KernelRequest> requests;
    for (const MergeCase& test : merge_cases()) {
      if (is_to_run("MatchesTheReference/" + name_of(test))) {
        requests.push_back({.kind = KernelKind::merge, .merge = test.config});
      }
    }
    prepare_for_suite(requests);
  }
};

TEST_P(MergeCover, MatchesTheReference) {
  MergeCall call(GetParam());
  call.upload();
  call.launch(stream());
  EXPECT_TRUE(call.matches_reference());
}

INSTANTIATE_TEST_SUITE_P(Cases, MergeCover, ::testing::ValuesIn(merge_cases()),
                         [](const auto& test) { return name_of(test.param); });

class MergeEdges : public GpuTest {
 protected:
  void expect_right(MergeCall& call) const {
    call.upload();
    call.launch(stream());
    EXPECT_TRUE(call.matches_reference());
  }
};

TEST_F(MergeEdges, ManyRowsFillTheGpu) {
  MergeCall call({.states = 3, .batch = 7, .len = 61, .heads = 32});
  expect_right(call);
}

TEST_F(MergeEdges, RowsThatAreEmptyEverywhereGiveZeros) {
  for (const int states : {1, 2, 16}) {
    MergeCall call({.states = states, .one_in_empty = 1});
    expect_right(call);
  }
}

/// Bit for bit, whichever of them is empty and whatever it holds.
TEST_F(MergeEdges, AnEmptyStateChangesNothing) {
  for (const int whose : {0, 1}) {
    for (const DType dtype : {DType::f16, DType::bf16, DType::f32}) {
      MergeCall both({.config = {.dtype = dtype, .out_dtype = dtype}, .one_in_empty = 0});
      const auto other = static_cast<std::size_t>(1 - whose);
      both.states[other].fill(kNan);
      std::ranges::fill(both.lses[other], -kInfinity);
      both.upload();
      both.launch(stream());
      auto wanted = both.states[static_cast<std::size_t>(whose)].elements();
      const auto lse = std::as_bytes(std::span(both.lses[static_cast<std::size_t>(whose)]));
      wanted.insert(wanted.end(), lse.begin(), lse.end());
      EXPECT_EQ(both.result(), wanted);
    }
  }
}

TEST_F(MergeEdges, InfiniteLsesShareAllTheWeight) {
  MergeCall call({.states = 5, .batch = 1, .len = 1, .heads = 2, .one_in_empty = 0});
  for (const int state : {0, 4}) call.lse_of(state, 0, 0, 1) = kInfinity;
  for (int c = 0; c < 128; ++c) {
    call.states[0].put(0, 0, 1, c, 3);
    call.states[4].put(0, 0, 1, c, -1);
  }
  call.upload();
  call.launch(stream());
  Gpu::synchronize();
  call.out.download();
  for (int c = 0; c < 128; ++c) EXPECT_EQ(call.out.get(0, 0, 1, c), 1);
  EXPECT_EQ(call.lse.download()[1], kInfinity);
}

TEST_F(MergeEdges, InPlaceGivesTheSameBits) {
  MergeCase test{.states = 3, .batch = 3, .len = 50, .heads = 16};
  MergeCall apart(test);
  apart.upload();
  apart.launch(stream());
  test.in_place = true;
  MergeCall in_place(test);
  in_place.states = std::move(apart.states);
  in_place.lses = std::move(apart.lses);
  in_place.upload();
  in_place.launch(stream());
  EXPECT_EQ(in_place.result(), apart.result());
}

TEST_F(MergeEdges, RepeatsGiveTheSameBits) {
  constexpr int kRepeats = 100;
  MergeCall call({.config = {.dtype = DType::f32}, .states = 7, .batch = 3, .len = 50, .heads = 16});
  call.upload();
  call.launch(stream());
  const auto first = call.result();
  for (int i = 0; i < kRepeats; ++i) {
    call.launch(stream());
    ASSERT_EQ(call.result(), first) << i;
  }
}

/// More states than one call takes: the result of the first, in place, is one of the second's.
TEST_F(MergeEdges, MoreStatesAreMergedInSeveralCalls) {
  MergeCall call({.config = {.dtype = DType::f32, .out_dtype = DType::f32}, .states = 31});
  call.upload();
  MergeArgs args = call.args();
  args.num_states = kMostMergedStates;
  args.out = call.states[0].output();
  args.lse = call.lse_of_state(0);
  Gpu::runtime().launch(call.test.config, stream(), args);
  args = call.args();
  for (std::size_t s = 1; s < args.states.size(); ++s) args.states[s] = call.state(s + 15);
  args.num_states = kMostMergedStates;
  Gpu::runtime().launch(call.test.config, stream(), args);
  EXPECT_TRUE(call.matches_reference());
}

TEST_F(MergeEdges, IsOneNodeOfAGraph) {
  MergeCall call({.states = 16});
  call.upload();
  call.launch(stream());
  synchronize();
  const auto nodes = captured_nodes(*Gpu::driver(), stream(), [&] { call.launch(stream()); });
  EXPECT_EQ(nodes.kernels, 1U);
  EXPECT_EQ(nodes.others, 0U);
}

/// A sequence's rows 2^31 elements behind the one's before it.
TEST_F(MergeEdges, StridesBeyondThirtyTwoBitsAreFollowed) {
  constexpr std::int64_t kFar = (std::int64_t{1} << 31) + 8;
  MergeCall call({.states = 2, .batch = 2, .len = 1, .heads = 3, .one_in_empty = 0});
  const std::size_t bytes = static_cast<std::size_t>(kFar) * 2 + 3 * 128 * 2;
  if (Gpu::free_bytes() < bytes + (std::size_t{1} << 30U)) GTEST_SKIP() << "needs " << bytes << " bytes";
  call.upload();
  cuda::DeviceBuffer far(Gpu::driver(), bytes);
  const auto rows = call.states[1].elements();
  const auto half = rows.size() / 2;
  far.upload(std::span(rows).first(half));
  far.upload(std::span(rows).last(half), static_cast<std::size_t>(kFar) * 2);
  auto args = call.args();
  args.states[1].out = {far.data(), {.batch = kFar, .row = 0, .head = 128}};
  Gpu::runtime().launch(call.test.config, stream(), args);
  EXPECT_TRUE(call.matches_reference());
}

/// Keys in three parts, each a forward call of its own; the last of no keys at all.
TEST_F(MergeEdges, PartsOfAttentionMakeTheWhole) {
  for (const DType states : {DType::f32, DType::bf16}) {
    ForwardCall whole({.batch = 2, .len_q = 70, .len_k = 300, .heads_q = 4, .heads_kv = 2});
    whole.upload();
    const AttentionConfig config{.output_f32 = states == DType::f32};
    const auto shape = whole.out.shape();
    constexpr std::array<int, 4> kBounds = {0, 111, 300, 300};
    std::vector<Tensor> outs;
    std::vector<LseBuffer> lses;
    MergeArgs args;
    for (std::size_t part = 0; part < 3; ++part) {
      outs.emplace_back(states, Layout::bshd, shape);
      outs.back().upload();
      lses.emplace_back(std::size_t{2} * 70 * 4);
      lses.back().upload();
    }
    for (std::size_t part = 0; part < 3; ++part) {
      ForwardArgs call = whole.args();
      const auto skip = [&](Input& keys) {
        keys.data = static_cast<const std::byte*>(keys.data) + kBounds[part] * keys.strides.row * 2;
      };
      skip(call.k);
      skip(call.v);
      call.len_k = kBounds[part + 1] - kBounds[part];
      call.out = outs[part].output();
      call.lse = lses[part].data();
      Gpu::runtime().launch(config, stream(), call);
      args.states[part] = {outs[part].input(), {call.lse, Strides::bhsd(70, 4, 1)}};
    }
    args.num_states = 3;
    args.out = whole.args().out;
    args.lse = {whole.args().lse, Strides::bhsd(70, 4, 1)};
    args.batch = 2;
    args.len = 70;
    args.heads = 4;
    Gpu::runtime().launch(MergeConfig{.dtype = states, .out_dtype = DType::bf16}, stream(), args);
    EXPECT_TRUE(whole.matches_reference());
  }
}

class MergeSanitizer : public GpuTest, public ::testing::WithParamInterface<MergeCase> {};

TEST_P(MergeSanitizer, IsCleanAndRight) {
  MergeCall call(GetParam());
  call.upload();
  call.launch(stream());
  EXPECT_TRUE(call.matches_reference());
}

INSTANTIATE_TEST_SUITE_P(
    Cases, MergeSanitizer,
    ::testing::Values(MergeCase{.states = 3, .in_place = true},
                      MergeCase{.config = {.dtype = DType::f32, .out_dtype = DType::f16, .head_dim_v = 40},
                                .states = 6,
                                .layout = Layout::padded,
                                .heads_first = true},
                      MergeCase{.config = {.dtype = DType::f16, .out_dtype = DType::f32, .head_dim_v = 256},
                                .states = 2,
                                .lse = false}),
    [](const auto& test) { return name_of(test.param); });

}  // namespace
}  // namespace kiln::test
