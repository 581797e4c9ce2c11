#include "cache/entry.hpp"

#include <gtest/gtest.h>

#include <array>
#include <set>

namespace kiln::cache {
namespace {

using base::hash_parts;
using base::HashPart;
using Options = std::vector<std::string>;

const std::vector<HashPart> kSource = {{"template", "11"}, {"heading", "// f\n"}, {"config", "int x = 1;\n"}};
const Options kOptions = {"-arch=sm_90", "-lineinfo"};

// Computed by hand from docs/CACHE.md. If these change, every kernel of every user is built again: that
// takes a new schema.
constexpr std::string_view kGoldenKernel = "c01eacf0422fca18a95c9db52224f47e2d4fd7bbcf2c01886526115654c13467";
constexpr std::string_view kGoldenBuild = "a50771c58fa308c3467c8a9a61fe53c58179ca84741c4c73c172b9be8880adf4";

TEST(Key, HasTheGoldenIds) {
  EXPECT_EQ(kernel_id(kSource, kOptions, "sm_90"), kGoldenKernel);
  EXPECT_EQ(build_id(kGoldenKernel, "4f1c"), kGoldenBuild);
}

TEST(Key, DependsOnEveryPart) {
  const std::set<std::string> ids = {
      kernel_id(kSource, kOptions, "sm_90"),
      kernel_id({}, kOptions, "sm_90"),
      kernel_id(std::span(kSource).first(2), kOptions, "sm_90"),
      kernel_id(std::vector<HashPart>{{"template", "12"}, kSource[1], kSource[2]}, kOptions, "sm_90"),
      kernel_id(std::vector<HashPart>{kSource[0], kSource[2], kSource[1]}, kOptions, "sm_90"),
      kernel_id(kSource, kOptions, "sm_90a"),
      kernel_id(kSource, kOptions, ""),
      kernel_id(kSource, Options{}, "sm_90"),
      kernel_id(kSource, Options{"-arch=sm_90"}, "sm_90"),
      kernel_id(kSource, Options{"-arch=sm_80", "-lineinfo"}, "sm_90"),
      kernel_id(kSource, Options{"-lineinfo", "-arch=sm_90"}, "sm_90"),
      kernel_id(kSource, Options{"-arch=sm_90-lineinfo"}, "sm_90"),
      kernel_id(kSource, Options{"-arch=sm_90", "-lineinfo", ""}, "sm_90"),
      build_id(kGoldenKernel, "4f1c"),
      build_id(kGoldenKernel, "4f1d"),
      build_id(kGoldenKernel, ""),
      build_id(kernel_id({}, {}, ""), "4f1c"),
  };
  EXPECT_EQ(ids.size(), 17U);
  for (const std::string& id : ids) EXPECT_TRUE(is_id(id)) << id;
}

TEST(Key, KeepsPartsApart) {
  const auto hash = [](std::vector<HashPart> parts) { return hash_parts(parts); };
  const std::set<std::string> ids = {
      hash({}),
      hash({{"", ""}}),
      hash({{"a", "b"}, {"cd", ""}}),
      hash({{"a", "b"}, {"c", "d"}}),
      hash({{"ab", ""}, {"c", "d"}}),
      hash({{"a", "bcd"}}),
      hash({{"c", "d"}, {"a", "b"}}),
      hash({{"a", std::string_view("b\0", 2)}, {"c", "d"}}),
  };
  EXPECT_EQ(ids.size(), 8U);
}

TEST(Key, HasOneForm) {
  EXPECT_TRUE(is_id(kGoldenKernel));
  EXPECT_FALSE(is_id(""));
  EXPECT_FALSE(is_id(kGoldenKernel.substr(1)));
  EXPECT_FALSE(is_id(std::string(65, 'a')));
  EXPECT_FALSE(is_id(std::string(64, 'A')));
  EXPECT_FALSE(is_id(std::string(64, 'g')));
  EXPECT_FALSE(is_id("../" + std::string(61, 'a')));
}

}  // namespace
}  // namespace kiln::cache
