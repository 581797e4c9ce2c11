#include "api/runtime_state.hpp"
#include "cli/commands.hpp"
#include "cli/findings.hpp"
#include "cli/progress.hpp"
#include "cli/report.hpp"
#include "tune/check.hpp"
#include "tune/load_kernel.hpp"
#include "tune/measure.hpp"
#include "tune/merge_problem.hpp"

#include <algorithm>
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

/// The kernel that timing needs beside it has to be compiled.
bool is_timed(const Common& common, const RunArguments& arguments) {
  return arguments.samples > 0 && common.options.jit;
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

Rate rate_of(const tune::Problem& problem, double microseconds) {
  if (microseconds <= 0) return {};
  if (problem.request.kind == KernelKind::decode) return {tune::kv_bytes(problem) / microseconds / 1e3, "GB/s"};
  return {tune::flops(problem) / microseconds / 1e6, "TFLOP/s"};
}

void find_of_attention(const Common& common, const tune::Gpu& gpu, const tune::KernelPtr& kernel,
                       const RunArguments& arguments, Findings& found) {
  const tune::Problem problem = parse_problem(kernel->info().request, arguments.shape);
  found.shape = tune::shape_text(problem);
  add_shape(problem, found.shape_json);
  if (arguments.rows > 0) found.check = check_once(gpu, kernel, problem, arguments);
  if (!is_timed(common, arguments)) return;
  found.time = time_it(common, gpu, kernel, problem, arguments);
  found.rate = rate_of(problem, found.time->median);
}

void find_of_merge(const Common& common, const tune::Gpu& gpu, const tune::KernelPtr& kernel,
                   const RunArguments& arguments, Findings& found) {
  const tune::MergeProblem problem = parse_merge_problem(kernel->info().request.merge, arguments.shape);
  found.shape = tune::shape_text(problem);
  add_shape(problem, found.shape_json);
  const auto rows = static_cast<std::size_t>(arguments.rows);
  if (rows > 0) found.check = tune::check_merge(gpu, kernel, problem, rows, arguments.seed);
  if (!is_timed(common, arguments)) return;
  tune::Timer timer(gpu, common.options);
  Progress progress("timing", arguments.samples, common.terminal);
  found.time = tune::measure_merge(gpu, timer, kernel, problem, arguments.samples, arguments.seed,
                                   [&](int done) { progress.update(done); });
  found.rate = {tune::bytes(problem) / std::max(found.time->median, 1e-9) / 1e3, "GB/s"};
}

}  // namespace

ExitCode run(const Common& common, const RunArguments& arguments) {
  const KernelRequest request = parse_request(arguments.kernel);
  const bool merge = request.kind == KernelKind::merge;
  // Before the GPU is looked for: what is asked must make sense.
  merge ? static_cast<void>(parse_merge_problem(request.merge, arguments.shape))
        : static_cast<void>(parse_problem(request, arguments.shape));
  const tune::Gpu gpu(common.options);
  const tune::KernelPtr kernel = find_kernel(common, gpu, request, arguments.tile);

  Findings found{.kernel = kernel->info(), .shape = {}, .shape_json = {}};
  (merge ? find_of_merge : find_of_attention)(common, gpu, kernel, arguments, found);
  report(common, gpu, found);
  return found.check && !found.check->passed ? ExitCode::wrong : ExitCode::ok;
}

}  // namespace kiln::cli
