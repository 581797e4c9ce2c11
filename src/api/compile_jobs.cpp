#include "api/compile_jobs.hpp"

#include "base/fail.hpp"
#include "base/machine_share.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>

namespace kiln::api {
namespace {

using Clock = std::chrono::steady_clock;

/// Jobs handed out and done, shared by the workers and the thread that reports.
class Queue {
 public:
  Queue(const std::vector<Job>& jobs, std::stop_source stop) : jobs_(jobs), stop_(std::move(stop)) {}

  /// Threads that work until nothing is left to begin. Where none can be started, the caller does the work.
  [[nodiscard]] std::vector<std::jthread> start_workers(std::size_t count) {
    std::vector<std::jthread> threads;
    try {
      while (threads.size() < count) {
        enter();
        threads.emplace_back([this] { work(); });
      }
    } catch (const std::system_error&) {
      if (threads.empty()) {
        work();
      } else {
        leave();
      }
    }
    return threads;
  }

  /// Until no worker is left.
  void report(const ProgressCallback& progress) {
    const auto start = Clock::now();
    const auto total = static_cast<int>(jobs_.size());
    std::unique_lock lock(mutex_);
    for (int reported = 0;;) {
      changed_.wait(lock, [&] { return done_ > reported || workers_ == 0; });
      if (done_ == reported) return;
      reported = done_;
      if (!progress) continue;
      const std::chrono::duration<double> spent = Clock::now() - start;
      lock.unlock();
      tell(progress, {.done = reported, .total = total, .seconds_left = spent.count() / reported * (total - reported)});
      lock.lock();
    }
  }

  void rethrow_first() const {
    if (first_error_) std::rethrow_exception(first_error_);
    const auto total = static_cast<int>(jobs_.size());
    if (done_ < total) base::fail(ErrorCode::cancelled, "cancelled when {} of {} were done", done_, total);
  }

 private:
  void work() {
    while (const Job* job = take()) {
      try {
        (*job)();
        finish(nullptr);
      } catch (const Error& error) {
        if (error.code() != ErrorCode::cancelled) finish(std::current_exception());
      } catch (...) {
        finish(std::current_exception());
      }
    }
    leave();
  }

  const Job* take() {
    const std::scoped_lock lock(mutex_);
    return next_ < jobs_.size() && !stop_.stop_requested() ? &jobs_[next_++] : nullptr;
  }

  void finish(const std::exception_ptr& error) {
    {
      const std::scoped_lock lock(mutex_);
      ++done_;
      if (error && !first_error_) first_error_ = error;
    }
    changed_.notify_one();
  }

  void enter() {
    const std::scoped_lock lock(mutex_);
    ++workers_;
  }

  void leave() {
    const std::scoped_lock lock(mutex_);
    --workers_;
    changed_.notify_one();  // under the lock: the last of us must not touch what the reporter then destroys
  }

  void tell(const ProgressCallback& progress, const Progress& at) {
    if (callback_failed_) return;
    try {
      progress(at);
    } catch (...) {
      callback_failed_ = true;
      stop_.request_stop();
      const std::scoped_lock lock(mutex_);
      if (!first_error_) first_error_ = std::current_exception();
    }
  }

  const std::vector<Job>& jobs_;
  std::stop_source stop_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t next_ = 0;
  int done_ = 0;
  int workers_ = 0;
  bool callback_failed_ = false;  // the reporting thread's own
  std::exception_ptr first_error_;
};

}  // namespace

int job_limit(int wanted) {
  if (wanted > 0) return wanted;
  constexpr std::uint64_t kBytesPerCompile = std::uint64_t{256} << 20U;  // what NVRTC takes for a large kernel
  const auto share = base::machine_share();
  const auto by_memory = std::min<std::uint64_t>(share.free_bytes / kBytesPerCompile, 1024);
  return std::clamp(static_cast<int>(by_memory), 1, std::max(share.cores, 1));
}

void run_jobs(const std::vector<Job>& jobs, int limit, const ProgressCallback& progress, std::stop_source stop) {
  if (jobs.empty()) return;
  Queue queue(jobs, std::move(stop));
  {
    const auto workers = queue.start_workers(std::min(static_cast<std::size_t>(std::max(limit, 1)), jobs.size()));
    queue.report(progress);
  }
  queue.rethrow_first();
}

}  // namespace kiln::api
