#include "api/compile_jobs.hpp"

#include "base/machine_share.hpp"

#include <kiln/error.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>

namespace kiln::api {
namespace {

TEST(RunJobs, RunsEachOnceAndReportsFromTheCallingThread) {
  constexpr int kJobs = 50;
  std::atomic<int> ran = 0;
  const std::vector<Job> jobs(kJobs, [&] { ++ran; });
  int last = 0;
  const auto caller = std::this_thread::get_id();
  run_jobs(jobs, 4, [&](const Progress& progress) {
    EXPECT_EQ(std::this_thread::get_id(), caller);
    EXPECT_GT(progress.done, last);
    EXPECT_EQ(progress.total, kJobs);
    EXPECT_GE(progress.seconds_left, 0);
    last = progress.done;
  });
  EXPECT_EQ(ran, kJobs);
  EXPECT_EQ(last, kJobs);
}

TEST(RunJobs, NeverRunsMoreAtOnceThanAllowed) {
  std::atomic<int> running = 0;
  std::atomic<int> most = 0;
  const std::vector<Job> jobs(24, [&] {
    const int now = ++running;
    int seen = most;
    while (now > seen && !most.compare_exchange_weak(seen, now)) {
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    --running;
  });
  run_jobs(jobs, 3, {});
  EXPECT_LE(most, 3);
  EXPECT_GE(most, 1);
}

TEST(RunJobs, AFailureDoesNotStopTheOthersAndIsThrownAtTheEnd) {
  std::atomic<int> ran = 0;
  std::vector<Job> jobs(10, [&] { ++ran; });
  jobs[3] = [] { throw std::runtime_error("third"); };
  EXPECT_THROW(run_jobs(jobs, 2, {}), std::runtime_error);
  EXPECT_EQ(ran, 9);
}

TEST(RunJobs, NothingToDoIsFine) {
  run_jobs({}, 4, [](const Progress&) { ADD_FAILURE() << "no progress to report"; });
}

TEST(RunJobs, AStopDropsWhatIsNotBegun) {
  const std::stop_source stop;
  std::atomic<int> ran = 0;
  std::vector<Job> jobs(10, [&] { ++ran; });
  jobs[4] = [&] {
    auto asked = stop;
    asked.request_stop();
    throw Error(ErrorCode::cancelled, "as told");
  };
  try {
    run_jobs(jobs, 1, {}, stop);
    ADD_FAILURE() << "did not throw";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::cancelled);
    EXPECT_STREQ(error.what(), "cancelled when 4 of 10 were done");
  }
  EXPECT_EQ(ran, 4);
}

TEST(RunJobs, AStopThatComesTooLateChangesNothing) {
  std::stop_source stop;
  run_jobs(std::vector<Job>(1, [&] { stop.request_stop(); }), 1, {}, stop);
}

TEST(RunJobs, AnExceptionOfTheCallbackDropsTheRest) {
  std::atomic<int> ran = 0;
  const std::vector<Job> jobs(1000, [&] {
    ++ran;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  });
  EXPECT_THROW(run_jobs(jobs, 1, [](const Progress&) { throw std::runtime_error("no more"); }), std::runtime_error);
  EXPECT_LT(ran, 1000);
}

TEST(JobLimit, IsWhatWasAskedElseBetweenOneAndTheCores) {
  EXPECT_EQ(job_limit(7), 7);
  EXPECT_GE(job_limit(0), 1);
  EXPECT_LE(job_limit(0), base::machine_share().cores);
}

}  // namespace
}  // namespace kiln::api
