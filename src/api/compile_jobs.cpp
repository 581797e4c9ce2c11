#include "api/compile_jobs.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <unistd.h>

namespace kiln::api {
namespace {

using Clock = std::chrono::steady_clock;

/// Jobs handed out and done, shared by the workers and the thread that reports.
class Queue {
 public:
  explicit Queue(const std::vector<Job>& jobs) : jobs_(jobs) {}

  void work() {
    while (const Job* job = take()) {
      std::exception_ptr error;
      try {
        (*job)();
      } catch (...) {
        error = std::current_exception();
      }
      finish(error);
    }
  }

  void report_until_done(const ProgressCallback& progress) {
    const auto start = Clock::now();
    const auto total = static_cast<int>(jobs_.size());
    std::unique_lock lock(mutex_);
    for (int reported = 0; reported < total;) {
      changed_.wait(lock, [&] { return done_ > reported; });
      reported = done_;
      if (!progress) continue;
      const std::chrono::duration<double> spent = Clock::now() - start;
      lock.unlock();
      progress({.done = reported, .total = total, .seconds_left = spent.count() / reported * (total - reported)});
      lock.lock();
    }
  }

  void rethrow_first() const {
    if (first_error_) std::rethrow_exception(first_error_);
  }

 private:
  const Job* take() {
    const std::scoped_lock lock(mutex_);
    return next_ < jobs_.size() ? &jobs_[next_++] : nullptr;
  }

  void finish(const std::exception_ptr& error) {
    {
      const std::scoped_lock lock(mutex_);
      ++done_;
      if (error && !first_error_) first_error_ = error;
    }
    changed_.notify_one();
  }

  const std::vector<Job>& jobs_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t next_ = 0;
  int done_ = 0;
  std::exception_ptr first_error_;
};

}  // namespace

int job_limit(int wanted) {
  if (wanted > 0) return wanted;
  constexpr long kBytesPerCompile = 256L << 20;  // what NVRTC takes for a large kernel
  const long free_bytes = sysconf(_SC_AVPHYS_PAGES) * sysconf(_SC_PAGESIZE);
  const long cores = std::max(1U, std::thread::hardware_concurrency());
  return static_cast<int>(std::clamp(free_bytes / kBytesPerCompile, 1L, cores));
}

void run_jobs(const std::vector<Job>& jobs, int limit, const ProgressCallback& progress) {
  if (jobs.empty()) return;
  Queue queue(jobs);
  {
    std::vector<std::jthread> workers;
    const auto count = std::min(static_cast<std::size_t>(std::max(limit, 1)), jobs.size());
    for (std::size_t i = 0; i < count; ++i) workers.emplace_back([&] { queue.work(); });
    queue.report_until_done(progress);
  }
  queue.rethrow_first();
}

}  // namespace kiln::api
