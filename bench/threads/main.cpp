// Many threads launch with one Runtime, each in its own stream; results are checked by sample, and memory must stay
// flat. Prints one JSON object for run_threads.py.
//
// usage: bench_threads [threads [launches of each thread]]
#include "base/json.hpp"
#include "cuda/context.hpp"
#include "cuda/stream.hpp"
#include "host/small_problem.hpp"

#include <kiln/kiln.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <latch>
#include <mutex>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

namespace kiln::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kSampleEvery = 500;  // launches; the queue of a stream is emptied that often
constexpr int kMostErrors = 10;    // of a thread, then it gives up

struct Tally {
  std::atomic<std::int64_t> launches = 0;
  std::atomic<std::int64_t> samples = 0;
  std::atomic<std::int64_t> wrong = 0;
  std::atomic<std::int64_t> errors = 0;
  std::mutex mutex;
  std::string first_error;

  void add_error(const std::string& words) {
    ++errors;
    const std::scoped_lock lock(mutex);
    if (first_error.empty()) first_error = words;
  }
};

/// What one thread does. Handles and configs take turns, so that both ways are under load.
class Worker {
 public:
  Worker(const std::shared_ptr<const cuda::Driver>& driver, const Runtime& runtime, bool checked, Tally& tally)
      : context_(driver, 0), stream_(driver), problem_(driver), runtime_(runtime), checked_(checked), tally_(tally) {
    runtime_.launch(config_, stream_.get(), problem_.args());
    stream_.synchronize();
    expected_ = problem_.output();
    if (checked_ && !problem_.right()) ++tally_.wrong;
  }

  void run(int launches) {
    for (int i = 0; i < launches; ++i) {
      const bool sample = i % kSampleEvery == kSampleEvery - 1 || i == launches - 1;
      if (sample) problem_.poison(stream_.get());
      if (i % 2 == 0) {
        runtime_.forward(config_).launch(stream_.get(), problem_.args());
      } else {
        runtime_.launch(config_, stream_.get(), problem_.args());
      }
      ++tally_.launches;
      if (sample) check();
    }
  }

 private:
  void check() {
    stream_.synchronize();
    if (!checked_) return;
    ++tally_.samples;
    if (problem_.output() != expected_) ++tally_.wrong;
  }

  cuda::Context context_;
  cuda::StreamHandle stream_;
  SmallProblem problem_;
  const Runtime& runtime_;
  bool checked_;
  Tally& tally_;
  AttentionConfig config_{};
  std::vector<std::uint16_t> expected_;
};

struct Memory {
  std::int64_t host_bytes = 0;
  std::int64_t device_bytes = 0;  ///< in use, by whomever
};

Memory memory_now(const cuda::Context& context) {
  std::ifstream statm("/proc/self/statm");
  std::int64_t total_pages = 0;
  std::int64_t resident_pages = 0;
  statm >> total_pages >> resident_pages;
  const auto device = context.memory();
  return {.host_bytes = resident_pages * ::sysconf(_SC_PAGESIZE),
          .device_bytes = static_cast<std::int64_t>(device.total_bytes - device.free_bytes)};
}

/// The real driver if it has a GPU, else the fake one, whose results say nothing.
std::shared_ptr<const cuda::Driver> choose_driver(Options& options, bool& real) {
  try {
    auto driver = cuda::Driver::load({});
    real = driver->device_count() > 0;
    if (real) return driver;
  } catch (const Error&) {
#ifndef KILN_FAKE_CUDA_PATH
    throw;
#endif
  }
#ifdef KILN_FAKE_CUDA_PATH
  options.cuda_path = KILN_FAKE_CUDA_PATH;
#endif
  return cuda::Driver::load(options.cuda_path);
}

base::Json::Object row(const char* what, std::int64_t value, const char* unit, std::int64_t at_most) {
  return {{"what", what}, {"kiln", value}, {"unit", unit}, {"at_most", at_most}, {"met", value <= at_most}};
}

int run(int thread_count, int launches) {
  Options options = Options::from_environment();
  options.device = 0;
  bool real = false;
  const auto driver = choose_driver(options, real);
  const Runtime runtime(options);
  const cuda::Context context(driver, 0);
  Tally tally;
  std::latch warm(thread_count);
  std::latch begin(1);
  const auto work = [&] {
    std::optional<Worker> worker;
    try {
      worker.emplace(driver, runtime, real, tally);
    } catch (const std::exception& error) {
      tally.add_error(error.what());
    }
    warm.count_down();
    begin.wait();
    const int piece = std::max(launches / kMostErrors, 1);
    for (int left = launches; worker && left > 0; left -= piece) {
      try {
        worker->run(std::min(piece, left));
      } catch (const std::exception& error) {
        tally.add_error(error.what());
      }
    }
  };
  std::vector<std::jthread> threads;
  for (int i = 0; i < thread_count; ++i) threads.emplace_back(work);
  warm.wait();
  const auto start = Clock::now();
  begin.count_down();

  // Flat means: from a tenth of the work on, which fills the driver's pools, to its end.
  const std::int64_t all = std::int64_t{thread_count} * launches;
  std::optional<Memory> before;
  Memory most{};
  while (tally.launches < all && tally.errors == 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    const Memory now = memory_now(context);
    if (!before && tally.launches >= all / 10) before = now;
    most = {.host_bytes = std::max(most.host_bytes, now.host_bytes),
            .device_bytes = std::max(most.device_bytes, now.device_bytes)};
  }
  threads.clear();
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  const Memory reference = before.value_or(most);

  constexpr std::int64_t kFlatBytes = std::int64_t{2} << 20U;
  base::Json::Array rows;
  rows.emplace_back(base::Json::Object{{"what", "launches"},
                                       {"kiln", tally.launches.load()},
                                       {"unit", "launches"},
                                       {"threads", thread_count},
                                       {"seconds", seconds},
                                       {"counted_by_stats", static_cast<std::int64_t>(runtime.stats().launches)}});
  auto errors = row("errors", tally.errors, "errors", 0);
  if (tally.errors > 0) errors["first"] = tally.first_error;
  rows.emplace_back(std::move(errors));
  auto wrong = row("results that differ from the first, which is right", tally.wrong, "results", 0);
  wrong["samples"] = tally.samples.load();
  rows.emplace_back(std::move(wrong));
  rows.emplace_back(row("growth of host memory", most.host_bytes - reference.host_bytes, "bytes", kFlatBytes));
  rows.emplace_back(row("growth of device memory", most.device_bytes - reference.device_bytes, "bytes", 0));
  base::Json::Object out;
  out["device"] = real ? driver->device_info(0).name : "none (fake libcuda)";
  out["versions"] = base::Json::Object{{"kiln", version()}};
  out["rows"] = std::move(rows);
  std::printf("%s\n", base::Json(std::move(out)).dump().c_str());
  return tally.errors == 0 && tally.wrong == 0 ? 0 : 1;
}

}  // namespace
}  // namespace kiln::bench

int main(int argc, char** argv) {
  constexpr int kThreads = 16;
  constexpr int kLaunches = 20000;
  try {
    return kiln::bench::run(argc > 1 ? std::stoi(argv[1]) : kThreads, argc > 2 ? std::stoi(argv[2]) : kLaunches);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_threads: %s\n", error.what());
    return 1;
  }
}
