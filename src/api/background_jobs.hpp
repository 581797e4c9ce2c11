#pragma once

#include "api/compile_jobs.hpp"
#include "base/fork_guard.hpp"

#include <memory>
#include <thread>
#include <vector>

namespace kiln::detail {

/// run_jobs() on a thread of its own. Destroyed, it cancels and waits.
class BackgroundJobs {
 public:
  BackgroundJobs(std::vector<api::Job> jobs, int limit, ProgressCallback progress, std::stop_source stop);
  ~BackgroundJobs();
  BackgroundJobs(const BackgroundJobs&) = delete;
  BackgroundJobs& operator=(const BackgroundJobs&) = delete;

  void wait() const;
  [[nodiscard]] bool done() const noexcept;
  void cancel() noexcept;

 private:
  struct Run;

  base::ForkGuard fork_guard_;
  std::shared_ptr<Run> run_;  // the thread's too: it may outlive this if its own callback destroys this
  std::thread thread_;
};

}  // namespace kiln::detail
