#include "cache/entry.hpp"

#include <gtest/gtest.h>

#include <array>
#include <set>

namespace kiln::cache {
namespace {

using Options = std::vector<std::string>;

const std::string kSource = "__global__ void f() {}\n";
const Options kOptions = {"-arch=sm_90", "-lineinfo"};

// Computed by hand from docs/CACHE.md. If these change, every kernel of every user is built again: that
// takes a new schema.
constexpr std::string_view kGoldenKernel = "ad29aa3c1b48cdb73c227aceb5864f8d478fa44eeaf380b0b5d80760a7b2724c";
constexpr std::string_view kGoldenBuild = "9897f51405e401e7870eccc357e35afaa4c7997997039799a55cde781a084fbb";

TEST(Key, HasTheGoldenIds) {
  EXPECT_EQ(kernel_id(kSource, kOptions, "sm_90"), kGoldenKernel);
  EXPECT_EQ(build_id(kGoldenKernel, "4f1c"), kGoldenBuild);
}

TEST(Key, DependsOnEveryPart) {
  const std::set<std::string> ids = {
      kernel_id(kSource, kOptions, "sm_90"),
      kernel_id(kSource + " ", kOptions, "sm_90"),
      kernel_id("", kOptions, "sm_90"),
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
      build_id(kernel_id("", {}, ""), "4f1c"),
  };
  EXPECT_EQ(ids.size(), 15U);
  for (const std::string& id : ids) EXPECT_TRUE(is_id(id)) << id;
}

TEST(Key, KeepsPartsApart) {
  const auto hash = [](std::vector<KeyPart> parts) { return hash_parts(parts); };
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
