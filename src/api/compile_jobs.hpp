#pragma once

#include <kiln/runtime.hpp>

#include <functional>
#include <stop_token>
#include <vector>

namespace kiln::api {

using Job = std::function<void()>;

/// How many compiles to run at once: as asked, else as many as cores and free memory allow.
int job_limit(int wanted);

/// Runs all jobs in their order, at most `limit` at once, and reports progress from the calling thread. A job that
/// throws does not stop the others; the first exception is thrown when all have ended.
///
/// Once a stop is asked for no further job is begun. Those that run end as they see fit: what the job itself does about
/// a stop is its own matter, and it says so by Error(cancelled). If a job was left undone, Error(cancelled) is thrown
/// unless another failed by itself. An exception of `progress` asks for a stop and is thrown in the end.
void run_jobs(const std::vector<Job>& jobs, int limit, const ProgressCallback& progress, std::stop_source stop = {});

}  // namespace kiln::api
