#include "cli/manifest.hpp"

#include "plan/device_info.hpp"
#include "support/expect_error.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kiln::cli {
namespace {

using test::error_of;
using testing::HasSubstr;

TEST(Manifest, ListsStandForEveryCombination) {
  const auto items = parse_manifest(R"({
    // what our service runs
    "architectures": [80, 90],
    "kernels": [
      {"kind": "forward", "dtype": ["bf16", "f16"], "head_dim": [64, 128], "causal": [true, false]},
      {"kind": "decode", "head_dim": 128, "architectures": [90]}
    ]})",
                                    "m.json");
  EXPECT_EQ(items.size(), 2U * 2 * 2 * 2 + 1);
  EXPECT_EQ(items.back(), (ManifestItem{{KernelKind::decode, AttentionConfig{}}, 90}));
}

TEST(Manifest, AMergeIsAKindOfItsOwn) {
  const auto items = parse_manifest(R"({
    "architectures": "all",
    "kernels": [{"kind": "merge", "dtype": ["f16", "bf16"], "out_dtype": "f16", "head_dim": 64}]})",
                                    "m.json");
  EXPECT_EQ(items.size(), 2 * plan::known_capabilities().size() - 1) << "7.5 has no bf16";
  EXPECT_EQ(
      items.front(),
      (ManifestItem{
          {.kind = KernelKind::merge, .merge = {.dtype = DType::f16, .out_dtype = DType::f16, .head_dim_v = 64}}, 75}));
}

TEST(Manifest, AllMeansEveryArchitecture) {
  const auto items = parse_manifest(R"({"architectures": "all", "kernels": [{}]})", "m.json");
  EXPECT_EQ(items.size(), plan::known_capabilities().size() - 1) << "7.5 has no bf16";
}

TEST(Manifest, TheSameKernelTwiceIsOne) {
  EXPECT_EQ(parse_manifest(R"({"architectures": [90, 90], "kernels": [{}, {"dtype": "bf16"}]})", "m.json").size(), 1U);
}

TEST(Manifest, ARecordHasAKernelOnEachLine) {
  const auto items = parse_manifest(
      "\n"
      R"({"kind": "forward", "dtype": "bf16", "head_dim": [64, 128], "architectures": [80, 90]})"
      "\r\n \t\n"
      R"({"kind": "decode", "architectures": [90]})"
      "\n"
      R"({"head_dim": 64, "architectures": [90]})"
      "\n"
      R"({"kind": "merge", "dtype": "f16", "architectures": "all"})",
      "used.json");
  EXPECT_EQ(items.size(), 2U * 2 + 1 + plan::known_capabilities().size()) << "each once";
  EXPECT_EQ(items[4], (ManifestItem{{KernelKind::decode, AttentionConfig{}}, 90}));
}

TEST(Manifest, OnOneLineItIsNoRecord) {
  EXPECT_EQ(parse_manifest(R"({"architectures": [80, 90], "kernels": [{}]})", "m.json").size(), 2U);
}

struct BadText {
  const char* name;
  std::string text;
  const char* message;
};

class BadManifest : public testing::TestWithParam<BadText> {};

TEST_P(BadManifest, IsRefusedByPlace) {
  const std::string message = error_of(ErrorCode::invalid_argument, [&] { parse_manifest(GetParam().text, "m.json"); });
  EXPECT_THAT(message, HasSubstr(GetParam().message));
  EXPECT_THAT(message, HasSubstr("m.json"));
}

/// A manifest of one kernel with these members.
std::string with_kernel(std::string_view members) {
  return fmt::format(R"({{"architectures": [90], "kernels": [{{{}}}]}})", members);
}

INSTANTIATE_TEST_SUITE_P(
    Texts, BadManifest,
    testing::Values(
        BadText{"not_json", "kernels: all", "m.json"}, BadText{"truncated", R"({"kernels": [)", "m.json"},
        BadText{"not_an_object", "[]", "an object"}, BadText{"no_kernels", R"({"architectures": [90]})", "kernels"},
        BadText{"no_architectures", R"({"kernels": [{}]})", "architectures"},
        BadText{"empty", R"({"architectures": [90], "kernels": []})", "\"kernels\" is empty"},
        BadText{"unknown_member", R"({"architectures": [90], "kernel": []})", "kernel"},
        BadText{"unknown_kernel_member", with_kernel(R"("head_dims": 64)"), "head_dims"},
        BadText{"empty_list", with_kernel(R"("dtype": [])"), "dtype is empty"},
        BadText{"bad_dtype", with_kernel(R"("dtype": ["bf16", "fp8"])"), "\"fp8\" is not one of f16, bf16"},
        BadText{"bad_type", with_kernel(R"("causal": "yes")"), "causal"},
        BadText{"kernel_not_object", R"({"architectures": [90], "kernels": [7]})", "kernels[0]"},
        BadText{"bad_architecture", R"({"architectures": [90, 70], "kernels": [{}]})", "70 is not one of 75, 80, "},
        BadText{"architecture_text", R"({"architectures": "hopper", "kernels": [{}]})", "\"hopper\" is neither"},
        BadText{"no_architecture", R"({"architectures": [], "kernels": [{}]})", "architectures is empty"},
        BadText{"head_dim", with_kernel(R"("head_dim": 1e9)"), "head_dim"},
        BadText{"record_torn", "{\"kind\": \"decode\", \"architectures\": [90]}\n\n{\"kind\": \"dec", "m.json:3: "},
        BadText{"record_without_architectures", R"({"kind": "decode"})",
                "m.json:1: the key 'architectures' is missing"},
        BadText{"record_bad_dtype", R"({"dtype": "fp8", "architectures": [90]})",
                "m.json:1: dtype: \"fp8\" is not one of"},
        BadText{"record_then_manifest", "{\"kind\": \"decode\", \"architectures\": [90]}\n{\"kernels\": []}",
                "m.json:2: "},
        BadText{"record_bad_architecture", R"({"kind": "merge", "architectures": [91]})",
                "m.json:1: architectures[0]: 91"}),
    [](const auto& test) { return test.param.name; });

TEST(Manifest, ExplosionsAreRefused) {
  std::string dims = "1";
  for (int i = 2; i <= 400; ++i) dims += fmt::format(",{}", i);
  const std::string text = with_kernel(fmt::format(R"("head_dim_qk": [{0}], "head_dim_v": [{0}])", dims));
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { parse_manifest(text, "m.json"); }),
              HasSubstr("stands for more than 100000 kernels"));
}

// Each would pass alone, and a long list of such would take hours.
TEST(Manifest, TheLimitHoldsForAllKernelsTogether) {
  const auto repeated = [](std::string_view value, int count) {
    std::string list(value);
    for (int i = 1; i < count; ++i) list += fmt::format(", {}", value);
    return list;
  };
  const std::string text = fmt::format(
      R"({{"architectures": [90], "kernels": [{{"causal": [{}], "window": [{}]}}, {{"causal": [{}], "window": [{}]}}]}})",
      repeated("true", 100), repeated(R"("none")", 100), repeated("true", 300), repeated(R"("none")", 310));
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { parse_manifest(text, "m.json"); }),
              AllOf(HasSubstr("kernels[1]"), HasSubstr("stands for more than 100000 kernels")));
}

}  // namespace
}  // namespace kiln::cli
