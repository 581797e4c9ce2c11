#include "cli/findings.hpp"

#include "cli/report.hpp"
#include "plan/names.hpp"

#include <fmt/format.h>

#include <cmath>

namespace kiln::cli {
namespace {

void print_text(const Common& common, const tune::Gpu& gpu, const Findings& found) {
  const KernelInfo& kernel = found.kernel;
  print(fmt::format("{} on {}\n  {}\n", plan::describe(kernel.request), gpu.info().name, found.shape));
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
    print(fmt::format("  time    {:.2f} us (middle half {:.2f} to {:.2f}), {:.1f} {}\n", time->median, time->low,
                      time->high, found.rate.value, found.rate.unit));
  } else {
    print(fmt::format("  time    not measured{}\n", common.options.jit ? "" : ": JIT is off"));
  }
}

base::Json to_json(const tune::Gpu& gpu, const Findings& found) {
  base::Json::Object json = plan::to_json(found.kernel.request);
  json["device"] = gpu.info().name;
  for (const auto& [name, value] : found.shape_json) json[name] = value;
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
    json["time"] = base::Json::Object{{"microseconds", time->median},
                                      {"low", time->low},
                                      {"high", time->high},
                                      {"rate", found.rate.value},
                                      {"unit", found.rate.unit}};
  }
  return json;
}

}  // namespace

void report(const Common& common, const tune::Gpu& gpu, const Findings& found) {
  if (common.json) {
    print_json(to_json(gpu, found));
  } else {
    print_text(common, gpu, found);
  }
}

}  // namespace kiln::cli
