// Every pair of what a decode call may be occurs in some case here, and each kernel then meets random geometry.
#include "gpu/decode_call.hpp"
#include "gpu/decode_cases.hpp"
#include "gpu/numbered.hpp"

namespace kiln::test {
namespace {

using NamedDecode = std::pair<std::string, DecodeCase>;

class DecodeCover : public GpuTest, public ::testing::WithParamInterface<NamedDecode> {
 protected:
  static void SetUpTestSuite() {
    std::vector<DecodeCase> chosen;
    for (const auto& cases : {pairwise_decode_cases(), random_decode_cases()})
      for (const auto& [name, test] : numbered(cases))
        if (is_to_run("MatchesTheReference/" + name)) chosen.push_back(test);
    prepare_for_suite(requests_of(chosen));
  }
};

TEST_P(DecodeCover, MatchesTheReference) {
  DecodeCall call(GetParam().second);
  call.upload();
  call.launch(stream());
  EXPECT_TRUE(call.matches_reference()) << description(call.test);
}

INSTANTIATE_TEST_SUITE_P(Pairwise, DecodeCover, ::testing::ValuesIn(numbered(pairwise_decode_cases())),
                         [](const auto& test) { return test.param.first; });
INSTANTIATE_TEST_SUITE_P(Random, DecodeCover, ::testing::ValuesIn(numbered(random_decode_cases())),
                         [](const auto& test) { return test.param.first; });

}  // namespace
}  // namespace kiln::test
