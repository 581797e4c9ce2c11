// Every pair of what a forward call may be occurs in some case here, and each kernel then meets random geometry.
#include "gpu/forward_call.hpp"
#include "gpu/forward_cases.hpp"
#include "gpu/numbered.hpp"

namespace kiln::test {
namespace {

using NamedForward = std::pair<std::string, ForwardCase>;

class ForwardCover : public GpuTest, public ::testing::WithParamInterface<NamedForward> {
 protected:
  static void SetUpTestSuite() {
    std::vector<ForwardCase> chosen;
    for (const auto& cases : {pairwise_cases(), random_cases()})
      for (const auto& [name, test] : numbered(cases))
        if (is_to_run("MatchesTheReference/" + name)) chosen.push_back(test);
    prepare_for_suite(kernels_of(chosen));
  }
};

TEST_P(ForwardCover, MatchesTheReference) {
  ForwardCall call(GetParam().second);
  call.upload();
  call.launch(stream());
  EXPECT_TRUE(call.matches_reference());
}

INSTANTIATE_TEST_SUITE_P(Pairwise, ForwardCover, ::testing::ValuesIn(numbered(pairwise_cases())),
                         [](const auto& test) { return test.param.first; });
INSTANTIATE_TEST_SUITE_P(Random, ForwardCover, ::testing::ValuesIn(numbered(random_cases())),
                         [](const auto& test) { return test.param.first; });

}  // namespace
}  // namespace kiln::test
