#include "tune/autotuner.hpp"

#include "attending_gpu.hpp"
#include "plan/plan.hpp"
#include "support/expect_error.hpp"
#include "support/temp_folder.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace kiln::tune {
namespace {

using test::AttendingGpu;
using test::FakeCuda;
using test::ScopedVariable;

Options fake_options() {
  Options options;
  options.cuda_path = FakeCuda::path();
  options.nvrtc_path = KILN_NVRTC_SHIM;
  options.cache_dir = std::filesystem::path();
  options.log_level = LogLevel::off;
  return options;
}

class Autotuner : public testing::TestWithParam<KernelKind> {
 protected:
  [[nodiscard]] KernelRequest request() const { return {GetParam(), {.head_dim_qk = 64, .head_dim_v = 64}}; }
  [[nodiscard]] int candidates() const {
    const plan::DeviceInfo device = cuda::Driver::load(FakeCuda::path())->device_info(0);
    return static_cast<int>(plan::candidate_tilings(request(), device).size());
  }
  [[nodiscard]] TuneResult race() const {
    const Gpu gpu(fake_options());
    const api::Builder builder(fake_options(), base::Logger(LogLevel::off, {}));
    Timer timer(gpu, fake_options());
    const Problem problem{.request = request(),
                          .batch = 2,
                          .len_q = GetParam() == KernelKind::decode ? 1 : 5,
                          .len_k = 9,
                          .heads_q = 4,
                          .heads_kv = 2};
    return tune(gpu, builder, timer, {}, std::vector{problem}, {.rounds = 3}, [](std::string_view, int, int) {});
  }

 private:
  ScopedVariable use_fake_{"NVRTC_SHIM_FAKE", "1"};
};

TEST_P(Autotuner, EqualTimesLeaveTheIncumbent) {
  const AttendingGpu gpu(request(), candidates());
  const TuneResult result = race();
  EXPECT_EQ(result.candidates.size(), static_cast<std::size_t>(candidates()));
  for (const Candidate& candidate : result.candidates) {
    EXPECT_EQ(candidate.fate, Candidate::Fate::timed) << candidate.why;
    ASSERT_EQ(candidate.times.size(), 1U);
    EXPECT_GT(candidate.times[0].median, 0);
  }
  EXPECT_EQ(result.winner, result.incumbent);
}

TEST_P(Autotuner, WrongResultsAreNeverTimed) {
  AttendingGpu gpu(request(), candidates());
  const TuneResult before = race();
  AttendingGpu again(request(), candidates());
  const auto threads = static_cast<unsigned>(before.candidates[before.incumbent].tiling.warps * 32);
  again.broken = [threads](const FakeLaunch& launch) { return launch.block[0] == threads; };
  const TuneResult result = race();
  EXPECT_EQ(result.candidates[result.incumbent].fate, Candidate::Fate::wrong);
  EXPECT_TRUE(result.candidates[result.incumbent].times.empty());
  ASSERT_TRUE(result.winner.has_value());
  EXPECT_NE(*result.winner, result.incumbent);
}

TEST_P(Autotuner, SpillingCandidatesAreDropped) {
  const ScopedVariable spill("NVRTC_SHIM_SPILL", "8");
  const AttendingGpu gpu(request(), 0);
  const TuneResult result = race();
  EXPECT_EQ(result.winner, std::nullopt);
  for (const Candidate& candidate : result.candidates) EXPECT_EQ(candidate.fate, Candidate::Fate::spills);
}

TEST_P(Autotuner, ACompileFailureOnlyDropsTheCandidate) {
  const AttendingGpu gpu(request(), 0);
  const Gpu device(fake_options());
  const api::Builder builder(fake_options(), base::Logger(LogLevel::off, {}));
  Timer timer(device, fake_options());
  const ScopedVariable fail("NVRTC_SHIM_FAIL", "compile");
  Problem problem{.request = request(), .batch = 1, .len_q = 1, .len_k = 4};
  const TuneResult result =
      tune(device, builder, timer, {}, std::vector{problem}, {.rounds = 1}, [](std::string_view, int, int) {});
  EXPECT_EQ(result.winner, std::nullopt);
  for (const Candidate& candidate : result.candidates) {
    EXPECT_EQ(candidate.fate, Candidate::Fate::does_not_compile);
    EXPECT_FALSE(candidate.why.empty());
  }
}

TEST_P(Autotuner, ReportsItsSteps) {
  const AttendingGpu gpu(request(), candidates());
  const Gpu device(fake_options());
  const api::Builder builder(fake_options(), base::Logger(LogLevel::off, {}));
  Timer timer(device, fake_options());
  Problem problem{.request = request(), .batch = 1, .len_q = 1, .len_k = 4};
  std::vector<std::string> steps;
  (void)tune(device, builder, timer, {}, std::vector{problem}, {.rounds = 2},
             [&](std::string_view step, int done, int total) {
               EXPECT_LE(done, total);
               if (steps.empty() || steps.back() != step) steps.emplace_back(step);
             });
  EXPECT_THAT(steps, testing::ElementsAre("compiling", "checking", "warming up", testing::StartsWith("timing ")));
}

INSTANTIATE_TEST_SUITE_P(Kinds, Autotuner, testing::Values(KernelKind::forward, KernelKind::decode),
                         [](const auto& test) { return test.param == KernelKind::forward ? "forward" : "decode"; });

TEST(SmallProblem, KeepsTheGroupAndShrinksTheRest) {
  const Problem large{.request = {}, .batch = 64, .len_q = 8192, .len_k = 8192, .heads_q = 32, .heads_kv = 8};
  const Problem small = small_problem(large);
  EXPECT_EQ(small.heads_q / small.heads_kv, 4);
  EXPECT_LE(small.batch, 2);
  EXPECT_LT(small.len_q, 256);
  EXPECT_NO_THROW(validate(small));
}

TEST(Timing, WithoutJitItSaysWhatIsMissing) {
  const ScopedVariable use_fake("NVRTC_SHIM_FAKE", "1");
  const FakeCuda fake;
  Options options = fake_options();
  options.jit = false;
  const Gpu gpu(options);
  const std::string message = test::error_of(ErrorCode::missing_kernel, [&] { Timer timer(gpu, options); });
  EXPECT_THAT(message, testing::HasSubstr("JIT is off"));
}

}  // namespace
}  // namespace kiln::tune
