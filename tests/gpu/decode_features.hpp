#pragma once

#include "gpu/decode_call.hpp"
#include "gpu/feature_edges.hpp"

#include <array>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

/// What the tests of decode's features share, among them every config, so that all are compiled at once.
namespace kiln::test::decode_features {

inline constexpr std::int32_t kLeast = std::numeric_limits<std::int32_t>::min();
inline constexpr std::int32_t kMost = std::numeric_limits<std::int32_t>::max();

inline constexpr AttentionConfig kPlain{};
inline constexpr AttentionConfig kCausal{.causal = true};
inline constexpr AttentionConfig kSinks{.sinks = true};
inline constexpr AttentionConfig kSliding{.window = Window::sliding};
inline constexpr AttentionConfig kSlidingTopLeft{.alignment = Alignment::top_left, .window = Window::sliding};
inline constexpr std::array kFixedWindows = {
    AttentionConfig{.window = Window::fixed, .window_left = 0, .window_right = 0},
    AttentionConfig{.window = Window::fixed, .window_left = 70},
    AttentionConfig{.window = Window::fixed, .window_right = 5},
    AttentionConfig{.window = Window::fixed, .window_left = 1, .window_right = 64},
    AttentionConfig{.window = Window::fixed, .window_left = 500, .window_right = 9}};
inline constexpr AttentionConfig kRagged{.ragged = true};
inline constexpr AttentionConfig kCausalRagged{.causal = true, .ragged = true};
inline constexpr AttentionConfig kPaged{.paged = true};
inline constexpr AttentionConfig kCausalRaggedPaged{.causal = true, .ragged = true, .paged = true};
inline constexpr AttentionConfig kAdditive{.bias = Bias::additive};
inline constexpr AttentionConfig kMask{.bias = Bias::mask};
inline constexpr AttentionConfig kSoftcap{.softcap = true};
inline constexpr AttentionConfig kSoftcapSinks{.softcap = true, .sinks = true};
inline constexpr AttentionConfig kCausalSoftcap{.causal = true, .softcap = true};
inline constexpr AttentionConfig kAlibi{.alibi = true};
inline constexpr AttentionConfig kFloat32Output{.output_f32 = true};
inline constexpr AttentionConfig kEverything{.causal = true,
                                             .window = Window::sliding,
                                             .softcap = true,
                                             .alibi = true,
                                             .sinks = true,
                                             .ragged = true,
                                             .paged = true};
inline constexpr AttentionConfig kShort{.head_dim_qk = 64, .head_dim_v = 64, .causal = true, .ragged = true};
inline constexpr std::array kAlibis = {
    kAlibi, AttentionConfig{.causal = true, .alibi = true},
    AttentionConfig{.alignment = Alignment::top_left, .alibi = true},
    AttentionConfig{.causal = true, .alignment = Alignment::top_left, .alibi = true}};
inline constexpr std::array kHeadDims = {16, 48, 56, 88, 104, 120, 136, 144, 176, 200, 240};
inline constexpr std::array kRows = {16, 32, 64};

/// How keys are shared out: over the whole GPU, in so many parts, in parts of a size.
struct Split {
  int num = 0;
  int size = 0;
};
inline constexpr std::array<Split, 4> kSplits = {{{}, {.num = 1}, {.num = 5}, {.size = 100}}};

inline AttentionConfig with_rows(AttentionConfig config, int rows) {
  config.decode_rows = rows;
  return config;
}

inline std::vector<KernelRequest> kernels(DType dtype) {
  std::vector<AttentionConfig> configs = {kPlain,        kCausal,        kSinks,         kSliding,  kSlidingTopLeft,
                                          kRagged,       kPaged,         kMask,          kAdditive, kSoftcap,
                                          kSoftcapSinks, kCausalSoftcap, kFloat32Output, kShort};
  configs.insert(configs.end(), kAlibis.begin(), kAlibis.end());
  configs.insert(configs.end(), kFixedWindows.begin(), kFixedWindows.end());
  for (const int rows : kRows)
    for (const AttentionConfig& config : {kCausal, kCausalRagged, kCausalRaggedPaged, kEverything})
      configs.push_back(with_rows(config, rows));
  for (const int dim : kHeadDims) configs.push_back({.head_dim_qk = dim, .head_dim_v = dim});
  return requests_of(KernelKind::decode, dtype, std::move(configs));
}

}  // namespace kiln::test::decode_features

namespace kiln::test {

class DecodeFeatures : public FeatureEdgesTest<DecodeCall> {
 protected:
  static void SetUpTestSuite() {
    std::vector<KernelRequest> all;
    for (const DType dtype : {DType::bf16, DType::f16})
      for (const KernelRequest& request : decode_features::kernels(dtype)) all.push_back(request);
    prepare(all);
  }
  /// The same with every way to share out the keys.
  void run_split(DecodeCase test) const {
    DecodeCall call(test);
    call.upload();
    const Judge judge(call.problem());
    for (const auto& [num, size] : decode_features::kSplits) {
      call.test.num_splits = num;
      call.test.split_size = size;
      call.set_lists(call.test);
      call.launch(stream());
      EXPECT_TRUE(call.matches(judge)) << description(call.test);
    }
  }
};

}  // namespace kiln::test
