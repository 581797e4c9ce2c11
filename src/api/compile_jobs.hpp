#pragma once

#include <kiln/runtime.hpp>

#include <functional>
#include <vector>

namespace kiln::api {

using Job = std::function<void()>;

/// How many compiles to run at once: as asked, else as many as cores and free memory allow.
int job_limit(int wanted);

/// Runs all jobs, at most `limit` at once, and reports progress from the calling thread. A job that
/// throws does not stop the others; the first exception is thrown when all have ended.
void run_jobs(const std::vector<Job>& jobs, int limit, const ProgressCallback& progress);

}  // namespace kiln::api
