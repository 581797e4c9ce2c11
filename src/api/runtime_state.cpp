#include "api/runtime_state.hpp"

#include "api/compile_jobs.hpp"
#include "base/fail.hpp"
#include "plan/names.hpp"

#include <algorithm>
#include <chrono>
#include <set>
#include <utility>

namespace kiln::detail {
namespace {

using Clock = std::chrono::steady_clock;

std::uint64_t microseconds_since(Clock::time_point start) {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start).count());
}

int choose_device(const cuda::Driver& driver, int wanted) {
  const int count = driver.device_count();
  if (count == 0) base::fail(ErrorCode::cuda, "the driver sees no GPU (is CUDA_VISIBLE_DEVICES empty?)");
  if (wanted >= count) {
    base::fail(ErrorCode::invalid_argument, "device {} does not exist: the driver sees {}", wanted, count);
  }
  if (wanted < -1) base::fail(ErrorCode::invalid_argument, "device is {}: it must be -1 or an ordinal", wanted);
  return wanted >= 0 ? wanted : driver.current_device().value_or(0);
}

}  // namespace

std::size_t RequestHash::operator()(const KernelRequest& request) const noexcept {
  const auto& config = request.config;
  const auto& merge = request.merge;
  auto bits = static_cast<std::uint64_t>(config.head_dim_qk) << 32U |
              static_cast<std::uint64_t>(config.head_dim_v) << 8U | static_cast<std::uint64_t>(request.kind) << 4U |
              static_cast<std::uint64_t>(config.dtype) << 3U | static_cast<std::uint64_t>(config.causal) << 2U |
              static_cast<std::uint64_t>(config.alignment) << 1U | static_cast<std::uint64_t>(config.window);
  bits ^= static_cast<std::uint64_t>(merge.head_dim_v) << 48U | static_cast<std::uint64_t>(merge.dtype) << 46U |
          static_cast<std::uint64_t>(merge.out_dtype) << 44U;
  constexpr std::uint64_t kOddMultiplier = 0x9E3779B97F4A7C15;  // 2^64 / golden ratio
  bits *= kOddMultiplier;
  return static_cast<std::size_t>(bits ^ bits >> 32U);
}

RuntimeState::RuntimeState(const Options& options)
    : log_(options.log_level, options.log),
      compile_jobs_(options.compile_jobs),
      driver_(cuda::Driver::load(options.cuda_path)),
      device_(choose_device(*driver_, options.device)),
      device_info_(driver_->device_info(device_)),
      overlap_(driver_->overlap(options.overlap_launches, device_info_.capability)),
      tuned_(plan::tuned_table(options.tuned_dir, device_info_.capability)),
      builder_(options, log_),
      record_(options.record_file, device_info_.capability, log_),
      workspace_check_(options.check_workspaces ? std::make_shared<api::WorkspaceCheck>(driver_) : nullptr) {}

std::shared_ptr<RuntimeState> RuntimeState::make(const Options& options) {
  return {new RuntimeState(options), [](const RuntimeState* state) {
            // In a forked child the locks in it may be held by threads that are not there: it can't be taken apart.
            if (!state->driver_->forked()) delete state;
          }};
}

const RuntimeState::KernelPtr& RuntimeState::get(const KernelRequest& request, Stream stream) {
  driver_->check_not_forked();  // before any lock
  if (const auto* kernel = kernels_.find(request)) {
    counters_->memory_hits.add();
    return kernel->mine();
  }
  return build(request, stream, {});
}

const RuntimeState::KernelPtr& RuntimeState::build(const KernelRequest& request, Stream stream,
                                                   const std::stop_token& stop) {
  return kernels_.get_or_build(request, [&] { return KernelShares(load(request, stream, stop)); }, stop).mine();
}

RuntimeState::KernelPtr RuntimeState::load(const KernelRequest& request, Stream stream, const std::stop_token& stop) {
  const auto config = plan::plan(request, device_info_, tuned_);
  if (config.request != request) return same_kernel(config.request, stream, stop)->as(request);
  record_.note(request);  // before it is looked for: one that is missing is what a reader wants to know most
  const auto built = builder_.find_or_compile(config, [&] { fail_if_capturing(request, stream); }, stop);
  const auto& entry = built.entry;
  const bool compiled = built.origin == Origin::compiled;
  if (compiled) {
    counters_->compiles.add();
    counters_->compile_us.add(static_cast<std::uint64_t>(entry.compile_ms * 1e3));
  } else {
    auto& hits = built.origin == Origin::disk ? counters_->disk_hits : counters_->precompiled_hits;
    hits.add();
  }
  const auto start = Clock::now();
  auto module = std::make_shared<const cuda::Module>(driver_, entry.image.span(), entry.entry, config.smem_bytes,
                                                     device_, overlap_);
  counters_->load_us.add(microseconds_since(start));
  return std::make_shared<const LoadedKernel>(KernelInfo{.request = request,
                                                         .target = entry.target,
                                                         .kernel_id = entry.kernel_id,
                                                         .origin = built.origin,
                                                         .registers = entry.registers,
                                                         .spill_bytes = entry.spill_bytes,
                                                         .smem_bytes = entry.smem_bytes,
                                                         .compile_ms = compiled ? entry.compile_ms : 0},
                                              config, device_info_, std::move(module), counters_, workspace_check_);
}

const RuntimeState::KernelPtr& RuntimeState::same_kernel(const KernelRequest& canonical, Stream stream,
                                                         const std::stop_token& stop) {
  if (const auto* kernel = kernels_.find(canonical)) {
    counters_->memory_hits.add();
    return kernel->mine();
  }
  return build(canonical, stream, stop);
}

bool RuntimeState::is_capturing(Stream stream) const {
  return driver_->current_device().has_value() && driver_->capturing(stream);
}

void RuntimeState::fail_if_capturing(const KernelRequest& request, Stream stream) const {
  if (!is_capturing(stream)) return;
  base::fail(ErrorCode::capturing,
             "{} would have to be compiled while a stream is being captured: call Runtime::prepare() before",
             plan::describe(request));
}

/// One for each distinct request, those that take longest first: a long one begun last would keep one core busy while
/// the others are idle.
std::vector<api::Job> RuntimeState::jobs(std::span<const KernelRequest> requests, const std::stop_token& stop) {
  const std::set<KernelRequest> distinct(requests.begin(), requests.end());
  std::vector<KernelRequest> ordered(distinct.begin(), distinct.end());
  std::ranges::sort(ordered, [](const KernelRequest& a, const KernelRequest& b) {
    return std::pair(plan::compile_weight(b), a) < std::pair(plan::compile_weight(a), b);
  });
  std::vector<api::Job> jobs;
  jobs.reserve(ordered.size());
  for (const auto& request : ordered) {
    jobs.emplace_back([self = shared_from_this(), request, stop] {
      if (self->kernels_.find(request) != nullptr) {
        self->counters_->memory_hits.add();
      } else {
        static_cast<void>(self->build(request, nullptr, stop));
      }
    });
  }
  return jobs;
}

void RuntimeState::prepare(std::span<const KernelRequest> requests, const ProgressCallback& progress) {
  driver_->check_not_forked();
  const std::stop_source stop;
  api::run_jobs(jobs(requests, stop.get_token()), api::job_limit(compile_jobs_), progress, stop);
}

std::unique_ptr<BackgroundJobs> RuntimeState::prepare_async(std::span<const KernelRequest> requests,
                                                            ProgressCallback progress) {
  driver_->check_not_forked();
  const std::stop_source stop;
  return std::make_unique<BackgroundJobs>(jobs(requests, stop.get_token()), api::job_limit(compile_jobs_),
                                          std::move(progress), stop);
}

Stats RuntimeState::stats() const {
  constexpr double kMillisecondsPerMicrosecond = 1e-3;
  return {.memory_hits = counters_->memory_hits.sum(),
          .precompiled_hits = counters_->precompiled_hits.sum(),
          .disk_hits = counters_->disk_hits.sum(),
          .compiles = counters_->compiles.sum(),
          .launches = counters_->launches.sum(),
          .compile_ms = static_cast<double>(counters_->compile_us.sum()) * kMillisecondsPerMicrosecond,
          .load_ms = static_cast<double>(counters_->load_us.sum()) * kMillisecondsPerMicrosecond};
}

}  // namespace kiln::detail
