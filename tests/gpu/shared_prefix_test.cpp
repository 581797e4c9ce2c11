// Decode of sequences that begin with the same keys: against plain decode, which knows nothing of a prefix, and
// float64.
#include "gpu/driver_extras.hpp"
#include "gpu/prefix_call.hpp"

namespace kiln::test {
namespace {

class SharedPrefixOnGpu : public GpuTest, public ::testing::WithParamInterface<PrefixCase> {
 protected:
  void launch(const PrefixCall& call) {
    const auto decode = Gpu::runtime().shared_prefix_decode(call.test.decode.config);
    DecodeArgs args = call.own_args();
    args.workspace_bytes = decode.workspace_bytes(args, call.prefix());
    if (workspace_.size_bytes() < args.workspace_bytes) {
      workspace_ = cuda::DeviceBuffer(Gpu::driver(), args.workspace_bytes);
      workspace_.fill(std::byte{0});
    }
    args.workspace = workspace_.data();
    decode.launch(stream(), args, call.prefix());
  }

 private:
  cuda::DeviceBuffer workspace_;
};

TEST_P(SharedPrefixOnGpu, IsTheSameAsDecodeOfTheWhole) {
  PrefixCall call(GetParam());
  call.upload();
  const Judge judge(call.whole.problem());
  call.whole.launch(stream(), Gpu::runtime());
  EXPECT_TRUE(call.whole.matches(judge)) << "plain decode";
  call.clear_result();
  launch(call);
  EXPECT_TRUE(call.whole.matches(judge));
}

INSTANTIATE_TEST_SUITE_P(Cases, SharedPrefixOnGpu, ::testing::ValuesIn(prefix_cases()),
                         [](const auto& test) { return test.param.name; });

using SharedPrefixCalls = SharedPrefixOnGpu;

/// One workspace, zeroed once, for calls of all shapes: none leaves what the next takes for a counter.
TEST_F(SharedPrefixCalls, ShareAWorkspace) {
  constexpr std::size_t kEnough = std::size_t{1} << 26U;
  cuda::DeviceBuffer workspace(Gpu::driver(), kEnough);
  workspace.fill(std::byte{0});
  for (int round = 0; round < 2; ++round) {
    for (const PrefixCase& test : prefix_cases()) {
      PrefixCall call(test);
      call.upload();
      const auto decode = Gpu::runtime().shared_prefix_decode(test.decode.config);
      DecodeArgs args = call.own_args();
      args.workspace = workspace.data();
      args.workspace_bytes = workspace.size_bytes();
      decode.launch(stream(), args, call.prefix());
      EXPECT_TRUE(call.whole.matches_reference()) << test.name;
    }
  }
}

TEST_F(SharedPrefixCalls, AreThreeNodesOfAGraphThatRepeat) {
  PrefixCall call(prefix_cases().front());
  call.upload();
  launch(call);  // makes kernels and workspace
  synchronize();
  const auto nodes = captured_nodes(*Gpu::driver(), stream(), [&] { launch(call); });
  EXPECT_EQ(nodes.kernels, 3U);
  EXPECT_EQ(nodes.others, 0U);
  Gpu::synchronize();
  call.whole.out.download();
  const auto first = call.whole.out.elements();
  constexpr int kRepeats = 50;
  for (int i = 0; i < kRepeats; ++i) {
    launch(call);
    Gpu::synchronize();
    call.whole.out.download();
    ASSERT_EQ(call.whole.out.elements(), first) << i;
  }
}

using SharedPrefixSanitizer = SharedPrefixOnGpu;

TEST_F(SharedPrefixSanitizer, IsCleanAndRight) {
  PrefixCall call(
      {"small", {.config = {.causal = true, .paged = true}, .len_q = 2, .max_len_k = 200, .lengths = {200, 150}}, 128});
  call.upload();
  launch(call);
  EXPECT_TRUE(call.whole.matches_reference());
}

}  // namespace
}  // namespace kiln::test
