#include "api/compile_jobs.hpp"
#include "host/figure.hpp"
#include "host/requests.hpp"
#include "host/timing.hpp"
#include "host/yardstick.hpp"
#include "jit/compiler.hpp"

#include <algorithm>
#include <array>
#include <ctime>
#include <functional>
#include <thread>
#include <vector>

namespace kiln::bench {
namespace {

/// Of a plain or causal forward by its head dim; of all else the same.
double aim_ms(const KernelRequest& request) {
  const auto& config = request.config;
  if (request.kind != KernelKind::forward || config.head_dim_qk != config.head_dim_v) return 3000;
  return config.head_dim_qk == 64 ? 600 : config.head_dim_qk == 128 ? 800 : 1500;
}

struct CompileTime {
  double wall_ms = 0;
  double cpu_ms = 0;
};

template <class Work>
CompileTime time_compile(const Work& work) {
  CompileTime time;
  const double cpu = cpu_milliseconds();
  time.wall_ms = time_once(work);
  time.cpu_ms = cpu_milliseconds() - cpu;
  return time;
}

/// By the clock.
CompileTime median_of(std::vector<CompileTime> times) {
  std::ranges::sort(times, {}, &CompileTime::wall_ms);
  return times[times.size() / 2];
}

struct MeasuredKernel {
  KernelRequest request;
  cache::Entry entry{};
  std::vector<CompileTime> times{};
};

/// Milliseconds of additions that depend on each other little: a core has no time left for another thread.
double time_additions() {
  return time_once([] {
    std::uint64_t a = 1, b = 2, c = 3, d = 4, e = 5, f = 6;
    for (std::uint64_t step = 0; step < 100'000'000; ++step) {
      a += b ^ step;
      b += c ^ step;
      c += d ^ step;
      d += e ^ step;
      e += f ^ step;
      f += a ^ step;
      asm volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e), "+r"(f));  // one by one, in registers
    }
  });
}

/// How fast they are on all cores at once, against one alone: what of the cores are threads that share one, or are not
/// this machine's alone, no program gets.
double additions_percent(int cores) {
  const double alone_ms = time_additions();
  std::vector<double> ms(static_cast<std::size_t>(cores));
  {
    std::vector<std::jthread> threads;
    for (double& each : ms) threads.emplace_back([&each] { each = time_additions(); });
  }
  return 100 * alone_ms / *std::ranges::max_element(ms);
}

/// Everything compiled `copies` times on all cores, against the sum of the times alone.
Figure parallel(const Setup& setup, const api::Builder& builder, double sum_alone_ms) {
  constexpr int kRounds = 8;  // jobs a core, so that the cores idle at the end weigh little
  auto requests = usual_requests();
  std::ranges::sort(requests, std::ranges::greater{}, plan::compile_weight);  // as prepare() does
  const int copies = 1 + kRounds * setup.cores / static_cast<int>(requests.size());
  std::vector<api::Job> jobs;
  for (const KernelRequest& request : requests)
    for (int copy = 0; copy < copies; ++copy)
      jobs.emplace_back(
          [&builder, request, &setup] { static_cast<void>(builder.compile(config_of(request, setup.capability))); });
  const std::clock_t cpu = std::clock();  // of all threads
  const double wall_ms = time_once([&] { api::run_jobs(jobs, setup.cores, {}); });
  const double cpu_ms = static_cast<double>(std::clock() - cpu) * 1e3 / CLOCKS_PER_SEC;
  const double ideal_ms = copies * sum_alone_ms / setup.cores;
  return {.what = "parallel compile, share of the ideal",
          .value = 100 * ideal_ms / wall_ms,
          .unit = "%",
          .at_least = 90,
          .detail = {{"kernels", static_cast<std::int64_t>(jobs.size())},
                     {"cores", setup.cores},
                     {"wall_ms", wall_ms},
                     {"cores_busy_percent", 100 * cpu_ms / wall_ms / setup.cores},
                     {"ideal_ms", ideal_ms},
                     {"additions_percent", additions_percent(setup.cores)}}};
}

}  // namespace

Figures compile_figures(const Setup& setup) {
  const auto builder = make_builder(cold_options(setup));
  const auto compiler = load_compiler();
  const auto options = jit::compile_options(fmt::format("sm_{}", setup.capability));
  const auto compile_yardstick = [&] {
    static_cast<void>(compiler->compile(kYardstick, "yardstick.cu", "yardstick", options));
  };
  std::vector<MeasuredKernel> kernels;
  for (const KernelRequest& request : usual_requests()) kernels.push_back({request});
  const std::size_t usual = kernels.size();
  for (const KernelRequest& request : costly_requests()) kernels.push_back({request});

  compile_yardstick();  // starts NVRTC
  // All of them in turn: what else a machine does slows it down for seconds at a time.
  constexpr int kRounds = 5;
  std::vector<CompileTime> yardsticks;
  for (int round = 0; round < kRounds; ++round) {
    yardsticks.push_back(time_compile(compile_yardstick));
    for (auto& [request, entry, times] : kernels) {
      times.push_back(time_compile([&] { entry = builder.compile(config_of(request, setup.capability)); }));
    }
  }

  const CompileTime yardstick = median_of(yardsticks);
  Figures figures = {{.what = "yardstick compile",
                      .value = yardstick.wall_ms,
                      .unit = "ms",
                      .detail = {{"cpu_ms", yardstick.cpu_ms}}}};
  double usual_ms = 0;
  for (const auto& [request, entry, times] : kernels) {
    const CompileTime time = median_of(times);
    if (figures.size() <= usual) usual_ms += time.wall_ms;
    figures.push_back({.what = "cold compile " + name_of(request),
                       .value = time.wall_ms,
                       .unit = "ms",
                       .at_most = aim_ms(request),
                       .detail = {{"cpu_ms", time.cpu_ms},
                                  {"yardstick_ms", yardstick.wall_ms},
                                  {"registers", entry.registers},
                                  {"spill_bytes", entry.spill_bytes},
                                  {"cubin_bytes", static_cast<std::int64_t>(entry.image.size())}}});
  }
  figures.push_back(parallel(setup, builder, usual_ms));
  return figures;
}

}  // namespace kiln::bench
