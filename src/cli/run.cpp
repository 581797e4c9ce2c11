#include "api/runtime_state.hpp"
#include "cli/commands.hpp"
#include "cli/progress.hpp"
#include "cli/report.hpp"
#include "plan/names.hpp"
#include "tune/check.hpp"
#include "tune/load_kernel.hpp"
#include "tune/measure.hpp"

#include <fmt/format.h>

#include <cmath>
#include <utility>

namespace kiln::cli {
namespace {

/// The kernel a Runtime would use, or one of the given tiling.
tune::KernelPtr find_kernel(const Common& common, const tune::Gpu& gpu, const KernelRequest& request,
                            std::string_view tile) {
  Options options = common.options;
  options.device = gpu.ordinal();
  if (tile.empty()) return detail::RuntimeState::make(options)->get(request, nullptr);
  const api::Builder builder(options, logger_of(common));
  const auto config = plan::with_tiling(request, gpu.info(), parse_tiling(tile));
  return tune::load_kernel(gpu, request, config, builder.find_or_compile(config).entry);
}

tune::CheckResult check_once(const tune::Gpu& gpu, const tune::KernelPtr& kernel, const tune::Problem& problem,
                             const RunArguments& arguments) {
  const tune::HostInputs inputs = tune::random_inputs(problem, arguments.seed);
  tune::DeviceTensors tensors(gpu, problem, inputs);
  tensors.poison_outputs();
  tune::Call(gpu, kernel, tensors).launch(gpu.stream(), 0);
  gpu.synchronize();
  auto rows = tune::rows_to_check(problem, static_cast<std::size_t>(arguments.rows));
  return tune::check(tune::expect(problem, inputs, std::move(rows)), tensors.download());
}

tune::Summary time_it(const Common& common, const tune::Gpu& gpu, const tune::KernelPtr& kernel,
                      const tune::Problem& problem, const RunArguments& arguments) {
  tune::Timer timer(gpu, common.options);
  Progress progress("timing", arguments.samples, common.terminal);
  return tune::measure(gpu, timer, kernel, problem, arguments.samples, arguments.seed,
                       [&](int done) { progress.update(done); });
}

struct Rate {
  double value = 0;
  const char* unit = "";
};

Rate rate_of(const tune::Problem& problem, double microseconds) {
  if (microseconds <= 0) return {};
  if (problem.request.kind == KernelKind::decode) return {tune::kv_bytes(problem) / microseconds / 1e3, "GB/s"};
  return {tune::flops(problem) / microseconds / 1e6, "TFLOP/s"};
}

struct Findings {
  KernelInfo kernel;
  std::optional<tune::CheckResult> check;
  std::optional<tune::Summary> time;
};

void print_text(const Common& common, const tune::Gpu& gpu, const tune::Problem& problem, const Findings& found) {
  const KernelInfo& kernel = found.kernel;
  print(fmt::format("{} {} on {}\n  {}\n", plan::to_string(problem.request.kind), to_string(problem.request.config),
                    gpu.info().name, tune::shape_text(problem)));
  print(fmt::format("  kernel  {}, {} registers, {} bytes spilled, {} bytes of shared memory, id {:.12}\n",
                    kernel.target, kernel.registers, kernel.spill_bytes, kernel.smem_bytes, kernel.kernel_id));
  if (const auto& check = found.check) {
    const Tone tone = check->passed ? Tone::good : Tone::bad;
    print(fmt::format("  check   {}: error {:.3g} of {:.3g} allowed, LSE {:.3g} of 1, {} rows\n",
                      common.terminal.paint(tone, check->passed ? "right" : "WRONG"), check->error, check->limit,
                      check->lse_error, check->rows));
    if (!check->passed) print(fmt::format("          first at {}\n", check->first_wrong));
  }
  if (const auto& time = found.time) {
    const Rate rate = rate_of(problem, time->median);
    print(fmt::format("  time    {:.2f} us (middle half {:.2f} to {:.2f}), {:.1f} {}\n", time->median, time->low,
                      time->high, rate.value, rate.unit));
  } else {
    print(fmt::format("  time    not measured{}\n", common.options.jit ? "" : ": JIT is off"));
  }
}

base::Json to_json(const tune::Gpu& gpu, const tune::Problem& problem, const Findings& found) {
  base::Json::Object json = plan::to_json(problem.request);
  json["device"] = gpu.info().name;
  add_shape(problem, json);
  json["kernel_id"] = found.kernel.kernel_id;
  json["registers"] = found.kernel.registers;
  json["spill_bytes"] = found.kernel.spill_bytes;
  if (const auto& check = found.check) {
    const auto finite = [](double x) { return std::isfinite(x) ? base::Json(x) : base::Json("inf"); };
    json["check"] = base::Json::Object{{"passed", check->passed},
                                       {"rows", static_cast<std::uint64_t>(check->rows)},
                                       {"error", finite(check->error)},
                                       {"limit", finite(check->limit)},
                                       {"lse_error", finite(check->lse_error)},
                                       {"first_wrong", check->first_wrong}};
  }
  if (const auto& time = found.time) {
    const Rate rate = rate_of(problem, time->median);
    json["time"] = base::Json::Object{{"microseconds", time->median},
                                      {"low", time->low},
                                      {"high", time->high},
                                      {"rate", rate.value},
                                      {"unit", rate.unit}};
  }
  return json;
}

}  // namespace

ExitCode run(const Common& common, const RunArguments& arguments) {
  const KernelRequest request = parse_request(arguments.kernel);
  const tune::Problem problem = parse_problem(request, arguments.shape);
  const tune::Gpu gpu(common.options);
  const tune::KernelPtr kernel = find_kernel(common, gpu, request, arguments.tile);

  Findings found{.kernel = kernel->info(), .check = {}, .time = {}};
  if (arguments.rows > 0) found.check = check_once(gpu, kernel, problem, arguments);
  // The kernel that timing needs beside it has to be compiled.
  if (arguments.samples > 0 && common.options.jit) found.time = time_it(common, gpu, kernel, problem, arguments);
  if (common.json) {
    print_json(to_json(gpu, problem, found));
  } else {
    print_text(common, gpu, problem, found);
  }
  return found.check && !found.check->passed ? ExitCode::wrong : ExitCode::ok;
}

}  // namespace kiln::cli
