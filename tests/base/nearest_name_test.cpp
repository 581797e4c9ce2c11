#include "base/json.hpp"

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace kiln::base {
namespace {

struct Case {
  std::string_view name;
  std::string_view nearest;
};

class NearestName : public testing::TestWithParam<Case> {};

TEST_P(NearestName, IsTheOneMeant) {
  constexpr std::array<std::string_view, 5> kKnown = {"KILN_JIT", "KILN_CACHE_DIR", "KILN_LOG_LEVEL", "KILN_DUMP", "d"};
  EXPECT_EQ(nearest_name(GetParam().name, kKnown), GetParam().nearest);
}

INSTANTIATE_TEST_SUITE_P(All, NearestName,
                         testing::Values(Case{"KILN_JTI", "KILN_JIT"},             // swapped neighbours count once
                                         Case{"kiln_jit", "KILN_JIT"},             // case does not matter
                                         Case{"KILN_CACHEDIR", "KILN_CACHE_DIR"},  //
                                         Case{"KILN-LOG-LEVEL", "KILN_LOG_LEVEL"},
                                         Case{"KILN_LOGLEVLE", "KILN_LOG_LEVEL"},  //
                                         Case{"KILN_DUMP_ALL_THE_THINGS", ""},     // too far
                                         Case{"CUDA_PATH", ""}, Case{"", ""}, Case{"x", ""}));

TEST(NearestName, HugeNamesCostNothing) {
  constexpr std::array<std::string_view, 1> kKnown = {"cache_dir"};
  EXPECT_EQ(nearest_name(std::string(10'000'000, 'c'), kKnown), "");
}

}  // namespace
}  // namespace kiln::base
