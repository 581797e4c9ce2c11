// Random cases for as long as one likes: every head dim, every feature, seeds that no run had before.
#include "gpu/forward_call.hpp"
#include "gpu/forward_cases.hpp"
#include "gpu/soak.hpp"

#include <fmt/format.h>

#include <chrono>

namespace kiln::test {

SoakOptions& soak_options() {
  static SoakOptions options;
  return options;
}

namespace {

using Clock = std::chrono::steady_clock;

class ForwardSoak : public GpuTest {
 protected:
  void run(std::uint64_t seed) const {
    const ForwardCase test = random_case(seed);
    EXPECT_TRUE(passes(test)) << description(test) << "\n  repro: test_gpu --soak_case=" << seed;
  }

 private:
  [[nodiscard]] ::testing::AssertionResult passes(const ForwardCase& test) const try {
    ForwardCall call(test);
    call.upload();
    call.launch(stream());
    return call.matches_reference();
  } catch (const Error& error) {
    return ::testing::AssertionFailure() << error.what();
  }
};

TEST_F(ForwardSoak, DrawsCasesUntilTheTimeIsOver) {
  const auto time = soak_options().time;
  if (soak_options().only) {
    run(*soak_options().only);
    return;
  }
  if (time.count() == 0) GTEST_SKIP() << "soaks for --soak=<seconds>";
  constexpr std::uint64_t kRound = 1024;  // cases whose kernels are compiled together
  const Clock::time_point end = Clock::now() + time;
  auto seed = static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
  std::uint64_t cases = 0;
  while (Clock::now() < end) {
    std::vector<ForwardCase> round;
    for (std::uint64_t i = 0; i < kRound; ++i) round.push_back(random_case(seed + i));
    Gpu::runtime().prepare(kernels_of(round));
    for (std::uint64_t i = 0; i < kRound && Clock::now() < end; ++i, ++cases) run(seed + i);
    seed += kRound;
  }
  fmt::print("{} cases up to seed {}\n", cases, seed);
  EXPECT_GT(cases, 0U);
}

}  // namespace
}  // namespace kiln::test
