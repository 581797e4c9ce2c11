#include "api/background_jobs.hpp"

#include "base/fail.hpp"

#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>

namespace kiln::detail {

struct BackgroundJobs::Run {
  std::stop_source stop;
  std::atomic<bool> done = false;
  std::mutex mutex;
  std::condition_variable ended;
  std::exception_ptr failure;  // set before `done` is

  void end(std::exception_ptr with) {
    {
      const std::scoped_lock lock(mutex);
      failure = std::move(with);
      done = true;
    }
    ended.notify_all();
  }
};

BackgroundJobs::BackgroundJobs(std::vector<api::Job> jobs, int limit, ProgressCallback progress, std::stop_source stop)
    : run_(std::make_shared<Run>()) {
  run_->stop = std::move(stop);
  const auto work = [run = run_, limit](const std::vector<api::Job>& all, const ProgressCallback& report) {
    try {
      api::run_jobs(all, limit, report, run->stop);
      run->end(nullptr);
    } catch (...) {
      run->end(std::current_exception());
    }
  };
  try {
    thread_ = std::thread(work, std::move(jobs), std::move(progress));
  } catch (const std::system_error& error) {
    base::fail(ErrorCode::io, "prepare_async() can't start a thread: {}", error.what());
  }
}

BackgroundJobs::~BackgroundJobs() {
  if (fork_guard_.forked()) {
    // The thread stayed in the parent, and what it may hold locked is so for ever: neither wait nor tidy up.
    thread_.detach();
    [[maybe_unused]] const auto* const kept = std::make_unique<std::shared_ptr<Run>>(run_).release();
    return;
  }
  cancel();
  if (thread_.get_id() == std::this_thread::get_id()) {
    thread_.detach();
  } else {
    thread_.join();
  }
}

void BackgroundJobs::wait() const {
  if (fork_guard_.forked()) {
    base::fail(ErrorCode::cuda,
               "this process was forked while kernels were being prepared: threads and CUDA stay in "
               "the parent; make a Runtime in the child");
  }
  if (thread_.get_id() == std::this_thread::get_id() && !run_->done) {
    base::fail(ErrorCode::unsupported,
               "Preparation::wait() was called from its own progress callback: it would wait for ever");
  }
  std::unique_lock lock(run_->mutex);
  run_->ended.wait(lock, [&] { return run_->done.load(); });
  if (run_->failure) std::rethrow_exception(run_->failure);
}

bool BackgroundJobs::done() const noexcept { return run_->done; }

void BackgroundJobs::cancel() noexcept {
  if (!fork_guard_.forked()) run_->stop.request_stop();
}

}  // namespace kiln::detail
