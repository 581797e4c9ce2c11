// Random cases for as long as one likes: every head dim, every feature, seeds that no run had before.
#include "gpu/soak.hpp"

#include "gpu/decode_call.hpp"
#include "gpu/decode_cases.hpp"
#include "gpu/forward_call.hpp"
#include "gpu/forward_cases.hpp"

namespace kiln::test {

SoakOptions& soak_options() {
  static SoakOptions options;
  return options;
}

namespace {

class ForwardSoak : public GpuTest {};

TEST_F(ForwardSoak, DrawsCasesUntilTheTimeIsOver) {
  soak<ForwardCall>(stream(), "--soak_case=", random_case,
                    [](const std::vector<ForwardCase>& cases) { return kernels_of(cases); });
}

class DecodeSoak : public GpuTest {};

TEST_F(DecodeSoak, DrawsCasesUntilTheTimeIsOver) {
  soak<DecodeCall>(stream(), "--soak_decode_case=", random_decode_case,
                   [](const std::vector<DecodeCase>& cases) { return requests_of(cases); });
}

}  // namespace
}  // namespace kiln::test
