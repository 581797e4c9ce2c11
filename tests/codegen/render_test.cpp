#include "codegen/render.hpp"

#include "base/files.hpp"
#include "codegen/enumerators.hpp"
#include "plan/plan.hpp"
#include "support/expect_error.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

namespace kiln::codegen {
namespace {

using test::error_of;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::string with_enumerators(std::string_view text) {
  std::string out;
  append_with_enumerators(out, text);
  return out;
}

Source render(const plan::KernelConfig& config, TemplateStore templates = TemplateStore()) {
  return Renderer(std::move(templates)).render(config);
}

plan::KernelConfig sample_config() {
  plan::KernelConfig config;
  config.request = {.kind = KernelKind::forward,
                    .config = {.dtype = DType::f16, .head_dim_qk = 128, .head_dim_v = 64, .causal = true}};
  config.capability = 80;
  config.tiling = {.tile_m = 128, .tile_n = 64, .warps = 8, .stages = 2, .ctas_per_sm = 1};
  config.smem_bytes = 65536;
  return config;
}

TEST(ConfigHeader, IsSortedTypedOneFactALine) {
  EXPECT_EQ(config_header(sample_config()),
            "namespace kiln::config {\n"
            "\n"
            "KILN_DEVICE consteval device::DType dtype() { return device::DType::f16; }\n"
            "inline constexpr bool kAlibi = false;\n"
            "inline constexpr bool kAlignTopLeft = false;\n"
            "inline constexpr bool kAllowTf32 = false;\n"
            "inline constexpr bool kBiasAdditive = false;\n"
            "inline constexpr bool kBiasMask = false;\n"
            "inline constexpr int kCapability = 80;\n"
            "inline constexpr bool kCausal = true;\n"
            "inline constexpr int kCtasPerSm = 1;\n"
            "inline constexpr bool kFixedWindow = false;\n"
            "inline constexpr int kHeadDimQk = 128;\n"
            "inline constexpr int kHeadDimV = 64;\n"
            "inline constexpr bool kOutputF32 = false;\n"
            "inline constexpr bool kPaged = false;\n"
            "inline constexpr bool kRagged = false;\n"
            "inline constexpr bool kSinks = false;\n"
            "inline constexpr bool kSlidingWindow = false;\n"
            "inline constexpr int kSmemBytes = 65536;\n"
            "inline constexpr bool kSoftcap = false;\n"
            "inline constexpr int kStages = 2;\n"
            "inline constexpr int kTileM = 128;\n"
            "inline constexpr int kTileN = 64;\n"
            "inline constexpr int kWarps = 8;\n"
            "inline constexpr int kWindowLeft = -1;\n"
            "inline constexpr int kWindowRight = -1;\n"
            "\n"
            "}  // namespace kiln::config\n");
}

plan::KernelConfig sample_merge() {
  plan::KernelConfig config;
  config.request = {.kind = KernelKind::merge,
                    .merge = {.dtype = DType::f32, .out_dtype = DType::f16, .head_dim_v = 64}};
  config.capability = 80;
  config.tiling = {.tile_m = 16, .tile_n = 4, .warps = 4, .stages = 1, .ctas_per_sm = 6};
  return config;
}

TEST(ConfigHeader, OfAMergeHasNothingOfAttention) {
  EXPECT_EQ(config_header(sample_merge()),
            "namespace kiln::config {\n"
            "\n"
            "KILN_DEVICE consteval device::DType dtype() { return device::DType::f32; }\n"
            "inline constexpr int kCapability = 80;\n"
            "inline constexpr int kCtasPerSm = 6;\n"
            "inline constexpr int kHeadDimV = 64;\n"
            "inline constexpr int kTileN = 4;\n"
            "inline constexpr int kWarps = 4;\n"
            "KILN_DEVICE consteval device::DType out_dtype() { return device::DType::f16; }\n"
            "\n"
            "}  // namespace kiln::config\n");
  using Change = void (*)(plan::KernelConfig&);
  const Change changes[] = {[](auto& c) { c.request.merge.dtype = DType::f16; },
                            [](auto& c) { c.request.merge.out_dtype = DType::f32; },
                            [](auto& c) { c.request.merge.head_dim_v = 72; },
                            [](auto& c) { c.capability = 90; },
                            [](auto& c) { c.tiling.tile_n = 2; },
                            [](auto& c) { c.tiling.warps = 8; },
                            [](auto& c) { c.tiling.ctas_per_sm = 2; }};
  for (const auto& change : changes) {
    auto config = sample_merge();
    change(config);
    EXPECT_NE(config_header(config), config_header(sample_merge())) << "change " << &change - changes;
  }
}

TEST(ConfigHeader, EveryCompileTimeFactChangesIt) {
  using Change = void (*)(plan::KernelConfig&);
  const Change changes[] = {
      [](auto& c) { c.request.config.dtype = DType::bf16; },
      [](auto& c) { c.request.config.head_dim_qk = 64; },
      [](auto& c) { c.request.config.head_dim_v = 128; },
      [](auto& c) { c.request.config.causal = false; },
      [](auto& c) { c.request.config.alignment = Alignment::top_left; },
      [](auto& c) { c.request.config.window = Window::sliding; },
      [](auto& c) { c.request.config.window = Window::fixed; },
      [](auto& c) { c.request.config.window_left = 5; },
      [](auto& c) { c.request.config.window_right = 5; },
      [](auto& c) { c.request.config.softcap = true; },
      [](auto& c) { c.request.config.alibi = true; },
      [](auto& c) { c.request.config.sinks = true; },
      [](auto& c) { c.request.config.bias = Bias::additive; },
      [](auto& c) { c.request.config.bias = Bias::mask; },
      [](auto& c) { c.request.config.ragged = true; },
      [](auto& c) { c.request.config.paged = true; },
      [](auto& c) { c.request.config.output_f32 = true; },
      [](auto& c) { c.request.config.allow_tf32 = true; },
      [](auto& c) { c.capability = 90; },
      [](auto& c) { c.tiling.tile_m = 64; },
      [](auto& c) { c.tiling.tile_n = 32; },
      [](auto& c) { c.tiling.warps = 4; },
      [](auto& c) { c.tiling.stages = 3; },
      [](auto& c) { c.tiling.ctas_per_sm = 2; },
      [](auto& c) { c.smem_bytes = 1; },
  };
  const auto before = config_header(sample_config());
  for (const auto& change : changes) {
    auto config = sample_config();
    change(config);
    EXPECT_NE(config_header(config), before) << "change " << &change - changes;
  }
}

// The header that editors and nvcc read has the names of every kind, in the same order.
TEST(ConfigHeader, MatchesTheDefaultOfTheTemplates) {
  const auto names = [](const std::string& text) {
    std::vector<std::string> out;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with("inline constexpr")) out.push_back(line.substr(0, line.find(" =")));
      if (line.starts_with("KILN_DEVICE")) out.push_back(line.substr(0, line.find("()")));
    }
    return out;
  };
  const auto by_name = [](const std::string& line) { return line.substr(line.rfind(' ')); };
  auto all = names(config_header(sample_config()));
  for (const auto& line : names(config_header(sample_merge()))) {
    if (std::ranges::find(all, line) == all.end()) all.push_back(line);
  }
  std::ranges::sort(all, {}, by_name);
  EXPECT_EQ(all, names(TemplateStore().read("default_config.cuh")));
}

TEST(Render, GivesOneSelfContainedFile) {
  for (const auto kind : {KernelKind::forward, KernelKind::decode, KernelKind::merge}) {
    const auto config = plan::plan({.kind = kind, .config = {}}, plan::reference_device(90), {});
    const auto source = render(config);
    const auto text = source.text();
    EXPECT_THAT(text, AllOf(Not(HasSubstr("#include")), Not(HasSubstr("#pragma once")),
                            HasSubstr(with_enumerators(config_header(config))), HasSubstr("extern \"C\" __global__")));
    EXPECT_THAT(text, HasSubstr(source.entry + "("));
    EXPECT_EQ(source.name, plan::name_of(config) + ".cu");
    EXPECT_EQ(text.find("namespace kiln::config {"), text.rfind("namespace kiln::config {"));
    EXPECT_EQ(text, render(config).text()) << "equal configs give equal bytes";
  }
}

// Kernels are launched while the one before them may still run: each must wait for it before it reads anything.
TEST(Render, EveryKernelBeginsByFollowingInItsStream) {
  for (const auto kind : {KernelKind::forward, KernelKind::decode, KernelKind::merge}) {
    const auto source = render(plan::plan({.kind = kind}, plan::reference_device(90), {}));
    const auto text = source.text();
    const auto entry = text.find(source.entry + "(");
    const auto waits = text.find("follow_in_stream();", entry);
    EXPECT_NE(waits, std::string::npos) << source.name;
    EXPECT_LT(waits, text.find("threadIdx", entry)) << source.name;
  }
}

TEST(Enumerators, AreMadeOfIntegerConstantsOnly) {
  EXPECT_EQ(with_enumerators("inline constexpr int kWarps = 4;  // a line\nint other = 3;\n"),
            "enum : int { kWarps = 4 };  // a line\nint other = 3;\n");
  EXPECT_EQ(with_enumerators("struct A {\n  static constexpr bool kEven = 4 % 2 == 0;\n};"),
            "struct A {\n  enum : bool { kEven = 4 % 2 == 0 };\n};");
  EXPECT_EQ(with_enumerators("inline constexpr u32 kLong =\n    1 + 2;\ninline constexpr i32 kNext = kLong;"),
            "enum : u32 { kLong =\n    1 + 2 };\nenum : i32 { kNext = kLong };");
  for (const char* text : {"inline constexpr float kPi = 3.0f;", "constexpr int kLocal = 3;", "int kept = 1;",
                           "inline constexpr int kept = 1;", "kTwo = 2;", "= 4", ""}) {
    EXPECT_EQ(with_enumerators(text), text);
  }
}

// What NVRTC would make a global variable of, which takes long to load.
TEST(Render, LeavesNoConstantOutsideOfFunctions) {
  for (const auto kind : {KernelKind::forward, KernelKind::decode, KernelKind::merge}) {
    const auto source = render(plan::plan({.kind = kind}, plan::reference_device(90), {}));
    const auto text = source.text();
    EXPECT_THAT(text, AllOf(Not(HasSubstr("inline constexpr")),
                            Not(testing::ContainsRegex("static constexpr [a-zA-Z0-9_:]+ k[A-Z]")),
                            HasSubstr("enum : int { kCapability = 90 };")));
  }
}

class TemplateFolder : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(folder_ / "attention");
    std::filesystem::create_directories(folder_ / "device");
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  void write(const char* name, const char* text) const { std::ofstream(folder_ / name) << text; }

  std::filesystem::path folder_ =
      std::filesystem::path(testing::TempDir()) / testing::UnitTest::GetInstance()->current_test_info()->name();
};

TEST_F(TemplateFolder, ReplacesTheBuiltInTemplatesAndJoinsEachFileOnce) {
  write("attention/forward_sm80.cu",
        "#include \"a.cuh\"\n#include \"b.cuh\"\n#include \"default_config.cuh\"\nint entry;\n");
  write("a.cuh", "#pragma once\n#include \"b.cuh\"\nint a;\n");
  write("b.cuh", "#pragma once\nint b;\n");
  write("device/base.cuh", "enum class DType;\n");
  const auto text = render(sample_config(), TemplateStore(folder_)).text();
  EXPECT_EQ(text.find("int b;"), text.rfind("int b;"));
  EXPECT_LT(text.find("enum class DType;"), text.find("kTileM"));
  EXPECT_LT(text.find("kTileM"), text.find("int b;"));
  EXPECT_LT(text.find("int b;"), text.find("int a;"));
  EXPECT_LT(text.find("int a;"), text.find("int entry;"));
}

TEST_F(TemplateFolder, WhatDiffersBetweenTwoTextsIsInTheDigestTheHeadingOrTheConfig) {
  write("attention/forward_sm80.cu", "#include \"a.cuh\"\nint entry;\n");
  write("a.cuh", "int a;\n");
  write("device/base.cuh", "enum class DType;\n");
  const Renderer renderer{TemplateStore(folder_)};
  const auto source = renderer.render(sample_config());
  auto other = sample_config();
  other.smem_bytes = 1024;
  EXPECT_EQ(renderer.render(other).rest, source.rest) << "joined once";
  EXPECT_NE(renderer.render(other).config, source.config);
  EXPECT_EQ(source.text(), source.heading + std::string(source.rest->before_config()) + source.config +
                               std::string(source.rest->after_config()));

  EXPECT_EQ(render(sample_config(), TemplateStore(folder_)).rest->digest, source.rest->digest);
  std::set<std::string> digests = {source.rest->digest};
  write("a.cuh", "int b;\n");
  digests.insert(render(sample_config(), TemplateStore(folder_)).rest->digest);
  write("device/base.cuh", "enum class DType ;\n");
  digests.insert(render(sample_config(), TemplateStore(folder_)).rest->digest);
  write("attention/forward_sm80.cu", "#include \"a.cuh\"\nint entry ;\n");
  digests.insert(render(sample_config(), TemplateStore(folder_)).rest->digest);
  EXPECT_EQ(digests.size(), 4U);
}

TEST_F(TemplateFolder, AMissingFileIsNamed) {
  write("device/base.cuh", "enum class DType;\n");
  write("attention/forward_sm80.cu", "#include \"gone.cuh\"\n");
  EXPECT_THAT(error_of(ErrorCode::io, [&] { (void)render(sample_config(), TemplateStore(folder_)); }),
              HasSubstr("gone.cuh"));
}

TEST_F(TemplateFolder, ASystemHeaderIsRefused) {
  write("device/base.cuh", "enum class DType;\n");
  write("attention/forward_sm80.cu", "#include <cuda_fp16.h>\n");
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { (void)render(sample_config(), TemplateStore(folder_)); }),
              AllOf(HasSubstr("cuda_fp16.h"), HasSubstr("forward_sm80.cu")));
}

TEST(TemplateStore, NamesATemplateThatIsNotBuiltIn) {
  EXPECT_THAT(error_of(ErrorCode::io, [] { (void)TemplateStore().read("device/none.cuh"); }),
              HasSubstr("device/none.cuh"));
}

}  // namespace
}  // namespace kiln::codegen
