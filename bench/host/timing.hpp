#pragma once

#include <algorithm>
#include <chrono>
#include <ctime>
#include <vector>

namespace kiln::bench {

using Clock = std::chrono::steady_clock;

inline double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

/// Of this thread: what a busy machine doesn't lengthen.
inline double cpu_milliseconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) * 1e-6;
}

inline double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// Milliseconds of one run of `work`.
template <class Work>
double time_once(const Work& work) {
  const auto start = Clock::now();
  work();
  return milliseconds_since(start);
}

/// Median milliseconds of `runs` runs.
template <class Work>
double time_median(int runs, const Work& work) {
  std::vector<double> times;
  for (int i = 0; i < runs; ++i) times.push_back(time_once(work));
  return median(std::move(times));
}

}  // namespace kiln::bench
