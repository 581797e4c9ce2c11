// The GPU suite's shared prefixes, without a GPU: what SharedPrefixDecode asks of three kernels is the whole, where
// these are plain loops on host memory.
#include "api/check_args.hpp"
#include "api/check_merge_args.hpp"
#include "api/shared_prefix_calls.hpp"
#include "gpu/prefix_call.hpp"
#include "suite/plain_attention.hpp"
#include "suite/plain_merge.hpp"
#include "support/fake_cuda_control.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <vector>

namespace kiln::test {
namespace {

using Change = std::function<void(api::SharedPrefixCalls&)>;

class PrefixSuite : public ::testing::TestWithParam<PrefixCase> {
 protected:
  static void SetUpTestSuite() {
    setenv("KILN_CUDA_PATH", FakeCuda::path().c_str(), 1);
    ASSERT_EQ(Gpu::missing(), "");
  }

  static ::testing::AssertionResult passes(const PrefixCase& test, const Change& change = {}) {
    PrefixCall call(test);
    call.upload();
    const AttentionConfig& config = test.decode.config;
    const api::SharedPrefixConfigs configs(config);
    DecodeArgs args = call.own_args();
    const api::SharedPrefixLayout layout(0, args, config.head_dim_v);
    std::vector<float> workspace(layout.bytes / sizeof(float) + 4, kNan);
    auto* const begin = reinterpret_cast<std::byte*>(workspace.data());
    args.workspace = begin + (16 - reinterpret_cast<std::uintptr_t>(begin) % 16) % 16;
    api::check_shared_prefix(args);
    api::SharedPrefixCalls calls(args, call.prefix(), layout, config.head_dim_v);
    if (change) change(calls);
    api::check(configs.prefix, calls.prefix);
    api::check(configs.own, calls.own);
    api::check(configs.merge, calls.merge);
    plain_attention(configs.prefix, calls.prefix, Mistake::none);
    plain_attention(configs.own, calls.own, Mistake::none);
    plain_merge(configs.merge, calls.merge, MergeMistake::none);
    return call.whole.matches_reference();
  }
};

TEST_P(PrefixSuite, PassesInPlainLoops) { EXPECT_TRUE(passes(GetParam())); }

INSTANTIATE_TEST_SUITE_P(Cases, PrefixSuite, ::testing::ValuesIn(prefix_cases()),
                         [](const auto& test) { return test.param.name; });

using PrefixMistakes = PrefixSuite;

TEST_F(PrefixMistakes, AreFound) {
  const auto found_by = [](const Change& change) {
    int found = 0;
    for (const PrefixCase& test : prefix_cases()) found += passes(test, change) ? 0 : 1;
    return found;
  };
  EXPECT_GT(found_by([](auto& calls) { calls.merge.num_states = 1; }), 9) << "without the sequences' own keys";
  EXPECT_GT(found_by([](auto& calls) { calls.merge.states[0] = calls.merge.states[1]; }), 9) << "without the prefix";
  EXPECT_GT(found_by([](auto& calls) { calls.prefix.max_len_k = std::max(calls.prefix.max_len_k - 1, 0); }), 5)
      << "a key too few";
  EXPECT_GT(found_by([](auto& calls) { calls.merge.states[0].lse.strides = calls.merge.states[1].lse.strides; }), 5)
      << "the prefix's LSE as the others lie";
}

}  // namespace
}  // namespace kiln::test
