// Compiles a pairwise cover of the shipped configs for every architecture with the real NVRTC. What a
// GPU would only show as a slow kernel shows here: spills, local memory, warnings.
#include "api/builder.hpp"
#include "plan/plan.hpp"

#include <gtest/gtest.h>

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

Options jit_only() {
  Options options;
  options.cache_dir = std::filesystem::path();
  return options;
}

class CompileCover : public testing::TestWithParam<int> {
 protected:
  static void SetUpTestSuite() { builder_ = new api::Builder(jit_only(), base::Logger(LogLevel::off, {})); }
  static void TearDownTestSuite() { delete std::exchange(builder_, nullptr); }
  static inline api::Builder* builder_ = nullptr;
};

TEST_P(CompileCover, NoSpillsNoStackNoWarnings) {
  if (!builder_->compiler_file()) GTEST_SKIP() << "NVRTC was not found";
  const int capability = GetParam();
  const auto device = plan::reference_device(capability);
  for (const auto kind : {KernelKind::forward, KernelKind::decode}) {
    for (const auto& attention : kCover) {
      if (!plan::has_type(capability, attention.dtype)) continue;
      const auto config =
          plan::plan({.kind = kind, .config = attention}, device, plan::builtin_tuned_table(capability));
      std::string log;
      const auto entry = builder_->compile(config, &log);
      const auto resources = jit::parse_log(log, entry.entry);
      EXPECT_EQ(resources.spill_bytes(), 0) << entry.name << "\n" << log;
      EXPECT_EQ(resources.stack_bytes, 0) << entry.name << "\n" << log;
      EXPECT_TRUE(resources.warnings.empty()) << entry.name << "\n" << log;
      EXPECT_GT(resources.registers, 0) << log;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Capabilities, CompileCover,
                         testing::ValuesIn(plan::known_capabilities().begin(), plan::known_capabilities().end()));

}  // namespace
}  // namespace kiln
