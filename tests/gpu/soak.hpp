#pragma once

#include "gpu/gpu.hpp"

#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace kiln::test {

/// What the program's command line says about the soak.
struct SoakOptions {
  std::chrono::seconds time{0};         ///< --soak=<seconds>: 0 skips it
  std::optional<std::uint64_t> only{};  ///< --soak_case=<seed>: this case alone
};
SoakOptions& soak_options();

template <class Call, class Case>
::testing::AssertionResult passes_soak(const Case& test, Stream stream) try {
  Call call(test);
  call.upload();
  call.launch(stream);
  return call.matches_reference();
} catch (const Error& error) {
  return ::testing::AssertionFailure() << error.what();
}

/// Random cases with seeds that no run had before until the time is over, or the one that is asked for. `draw_case`
/// makes a case of a seed, `requests_of` tells what kernels cases need; `option` runs one case again.
template <class Call, class DrawCase, class RequestsOf>
void soak(Stream stream, std::string_view option, DrawCase draw_case, RequestsOf requests_of) {
  using Clock = std::chrono::steady_clock;
  const auto run = [&](std::uint64_t seed) {
    const auto test = draw_case(seed);
    EXPECT_TRUE(passes_soak<Call>(test, stream)) << description(test) << "\n  repro: test_gpu " << option << seed;
  };
  if (soak_options().only) {
    run(*soak_options().only);
    return;
  }
  if (soak_options().time.count() == 0) GTEST_SKIP() << "soaks for so many seconds as the command line says";
  constexpr std::uint64_t kRound = 1024;  // cases whose kernels are compiled together
  const Clock::time_point end = Clock::now() + soak_options().time;
  auto seed = static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
  std::uint64_t cases = 0;
  while (Clock::now() < end) {
    std::vector<decltype(draw_case(seed))> round;
    for (std::uint64_t i = 0; i < kRound; ++i) round.push_back(draw_case(seed + i));
    Gpu::runtime().prepare(requests_of(round));
    for (std::uint64_t i = 0; i < kRound && Clock::now() < end; ++i, ++cases) run(seed + i);
    seed += kRound;
  }
  fmt::print("{} cases up to seed {}\n", cases, seed);
  EXPECT_GT(cases, 0U);
}

}  // namespace kiln::test
