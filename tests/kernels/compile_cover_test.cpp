// Compiles a pairwise cover of the shipped configs for every architecture with the real NVRTC. What a
// GPU would only show as a slow kernel shows here: spills, local memory, warnings.
#include "api/builder.hpp"
#include "plan/plan.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

namespace kiln {
namespace {

// Any two choices of any two of dtype, qk dim, v dim, causal, alignment and window meet in some row.
constexpr std::array kCover = {
    AttentionConfig{DType::bf16, 64, 64, false, Alignment::bottom_right, Window::none},
    AttentionConfig{DType::f16, 64, 128, true, Alignment::top_left, Window::sliding},
    AttentionConfig{DType::bf16, 128, 64, true, Alignment::top_left, Window::none},
    AttentionConfig{DType::f16, 128, 128, false, Alignment::bottom_right, Window::sliding},
    AttentionConfig{DType::bf16, 128, 128, true, Alignment::bottom_right, Window::sliding},
    AttentionConfig{DType::f16, 64, 64, true, Alignment::top_left, Window::none},
    AttentionConfig{DType::bf16, 64, 128, false, Alignment::top_left, Window::none},
    AttentionConfig{DType::f16, 128, 64, false, Alignment::bottom_right, Window::none},
    AttentionConfig{DType::bf16, 64, 64, true, Alignment::bottom_right, Window::sliding},
};

// The same of what makes a difference to decode.
constexpr std::array kDecodeCover = {kCover[0], kCover[1], kCover[2], kCover[3]};

// Of other head dims, types and features, each architecture compiles three, so that together they come to all.
constexpr std::array kOthers = {
    AttentionConfig{.dtype = DType::f16, .head_dim_qk = 80, .head_dim_v = 80, .causal = true},
    AttentionConfig{.dtype = DType::f16, .head_dim_qk = 256, .head_dim_v = 256},
    AttentionConfig{.dtype = DType::f32, .head_dim_qk = 128, .head_dim_v = 128, .causal = true},
    AttentionConfig{.dtype = DType::f16, .head_dim_qk = 192, .head_dim_v = 128, .window = Window::sliding},
    AttentionConfig{.dtype = DType::bf16, .head_dim_qk = 112, .head_dim_v = 112, .window = Window::sliding},
    AttentionConfig{.dtype = DType::f32, .head_dim_qk = 64, .head_dim_v = 64, .window = Window::sliding},
    AttentionConfig{.dtype = DType::f16, .head_dim_qk = 160, .head_dim_v = 160, .causal = true},
    AttentionConfig{.dtype = DType::bf16, .head_dim_qk = 40, .head_dim_v = 40, .output_f32 = true},
    AttentionConfig{.dtype = DType::f32, .head_dim_qk = 256, .head_dim_v = 256, .causal = true, .allow_tf32 = true},
    AttentionConfig{.dtype = DType::bf16, .head_dim_qk = 192, .head_dim_v = 192, .causal = true},
    AttentionConfig{.dtype = DType::f16, .causal = true, .softcap = true, .alibi = true, .sinks = true},
    AttentionConfig{.dtype = DType::bf16, .bias = Bias::additive, .ragged = true},
    AttentionConfig{.dtype = DType::f16, .head_dim_qk = 64, .head_dim_v = 64, .alibi = true, .bias = Bias::mask},
    AttentionConfig{.dtype = DType::f16, .head_dim_qk = 256, .head_dim_v = 256, .softcap = true, .paged = true},
};

// What decode kernels do, too.
bool plain(const AttentionConfig& config) {
  const bool changed = config.softcap || config.alibi || config.sinks || config.bias != Bias::none;
  return config.dtype != DType::f32 && !changed && !config.ragged && !config.paged && !config.output_f32;
}

Options jit_only() {
  Options options;
  options.cache_dir = std::filesystem::path();
  return options;
}

class CompileCover : public testing::TestWithParam<int> {
 protected:
  static void SetUpTestSuite() { builder_ = new api::Builder(jit_only(), base::Logger(LogLevel::off, {})); }
  static void TearDownTestSuite() { delete std::exchange(builder_, nullptr); }

  static void expect_healthy(const KernelRequest& request) {
    const int capability = GetParam();
    if (!plan::has_types(capability, request)) return;
    const auto config = plan::plan(request, plan::reference_device(capability), plan::builtin_tuned_table(capability));
    std::string log;
    const auto entry = builder_->compile(config, &log);
    const auto resources = jit::parse_log(log, entry.entry);
    EXPECT_EQ(resources.spill_bytes(), 0) << entry.name << "\n" << log;
    EXPECT_EQ(resources.stack_bytes, 0) << entry.name << "\n" << log;
    EXPECT_TRUE(resources.warnings.empty()) << entry.name << "\n" << log;
    EXPECT_GT(resources.registers, 0) << log;
    EXPECT_NE(log.find(" 0 bytes gmem"), std::string::npos) << "global variables: " << log;
  }

  static inline api::Builder* builder_ = nullptr;
};

TEST_P(CompileCover, NoSpillsNoStackNoWarnings) {
  if (!builder_->compiler_file()) GTEST_SKIP() << "NVRTC was not found";
  for (const auto& attention : kCover) expect_healthy({KernelKind::forward, attention});
  for (const auto& attention : kDecodeCover) expect_healthy({KernelKind::decode, attention});
}

TEST_P(CompileCover, OtherHeadDimsAndTypesDoNotSpillEither) {
  if (!builder_->compiler_file()) GTEST_SKIP() << "NVRTC was not found";
  constexpr std::size_t kOfThem = 4;
  const auto known = plan::known_capabilities();
  const auto first = static_cast<std::size_t>(std::ranges::find(known, GetParam()) - known.begin()) * kOfThem;
  for (std::size_t i = first; i < first + kOfThem; ++i) {
    const auto& attention = kOthers[i % kOthers.size()];
    expect_healthy({KernelKind::forward, attention});
    if (plain(attention)) expect_healthy({KernelKind::decode, attention});
  }
}

TEST_P(CompileCover, MergesDoNotSpillEither) {
  if (!builder_->compiler_file()) GTEST_SKIP() << "NVRTC was not found";
  constexpr std::array kMerges = {
      MergeConfig{.dtype = DType::bf16, .out_dtype = DType::f32, .head_dim_v = 8},
      MergeConfig{.dtype = DType::f32, .out_dtype = DType::bf16, .head_dim_v = 128},
      MergeConfig{.dtype = DType::f16, .out_dtype = DType::f16, .head_dim_v = 72},
      MergeConfig{.dtype = DType::f32, .out_dtype = DType::f32, .head_dim_v = 256},
  };
  for (const auto& merge : kMerges) expect_healthy({.kind = KernelKind::merge, .merge = merge});
}

INSTANTIATE_TEST_SUITE_P(Capabilities, CompileCover,
                         testing::ValuesIn(plan::known_capabilities().begin(), plan::known_capabilities().end()));

}  // namespace
}  // namespace kiln
