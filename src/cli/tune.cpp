#include "base/fail.hpp"
#include "base/files.hpp"
#include "cli/commands.hpp"
#include "cli/planning.hpp"
#include "cli/progress.hpp"
#include "cli/report.hpp"
#include "cli/text_table.hpp"
#include "plan/names.hpp"
#include "tune/autotuner.hpp"

#include <kiln/version.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace kiln::cli {
namespace {

using tune::Candidate;

std::filesystem::path table_path(const TuneArguments& arguments, int capability) {
  if (!std::filesystem::is_directory(arguments.output)) return arguments.output;
  return arguments.output / fmt::format("sm_{}.json", capability);
}

/// The table that is merged into: the file if there is one, else what a Runtime would use.
plan::TunedTable table_to_extend(const std::filesystem::path& path, const Options& options, int capability) {
  plan::TunedTable table;
  if (std::filesystem::exists(path)) {
    table = plan::TunedTable::parse(base::read_file(path), path.string());
    if (table.capability != capability) {
      base::fail(ErrorCode::invalid_argument, "{} is for sm_{}, but this GPU is sm_{}", path.string(), table.capability,
                 capability);
    }
    return table;
  }
  table = plan::tuned_table(options.tuned_dir, capability);
  table.capability = capability;
  return table;
}

std::vector<tune::Problem> problems_for(const KernelRequest& request, const TuneArguments& arguments) {
  std::vector<tune::Problem> problems = usual_problems(request);
  if (!arguments.shapes.empty()) {
    problems.clear();
    for (const std::string& shape : arguments.shapes) problems.push_back(parse_shape(request, shape));
  }
  for (tune::Problem& problem : problems) {
    problem.page_size = arguments.page_size;
    if (request.config.window == Window::sliding) problem.window_left = arguments.window_left;
  }
  return problems;
}

/// How this row was measured, for whoever wonders later.
std::string note_for(const tune::TuneResult& result, std::span<const tune::Problem> problems) {
  std::string shapes;
  for (const tune::Problem& problem : problems) {
    if (!shapes.empty()) shapes += "; ";
    shapes += tune::shape_text(problem);
  }
  const auto timed = std::ranges::count(result.candidates, Candidate::Fate::timed, &Candidate::fate);
  return fmt::format("Kiln {}: best of {} timed out of {}, cold L2, on {}", version(), timed, result.candidates.size(),
                     shapes);
}

plan::TunedRow row_for(const tune::TuneResult& result, const Candidate& winner, const tune::Gpu& gpu,
                       std::span<const tune::Problem> problems) {
  return {.request = problems.front().request,
          .device = gpu.info().name,
          .version = plan::template_version(problems.front().request.kind),
          .tiling = winner.tiling,
          .measured = true,
          .microseconds = tune::score(winner.times),
          .note = note_for(result, problems)};
}

/// Indices of candidates, fastest first, then those that dropped out.
std::vector<std::size_t> ranking(const tune::TuneResult& result) {
  std::vector<std::size_t> order(result.candidates.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, {}, [&](std::size_t i) {
    const Candidate& candidate = result.candidates[i];
    return std::pair(candidate.times.empty() ? INFINITY : tune::score(candidate.times), i);
  });
  return order;
}

void print_text(const Common& common, const KernelRequest& request, const tune::TuneResult& result) {
  print(common.terminal.paint(Tone::strong, plan::describe(request)) + "\n");
  using enum TextTable::Align;
  TextTable table(
      {{"tile", left}, {"us", right}, {"noise", right}, {"registers", right}, {"compile ms", right}, {"", left}});
  for (const std::size_t i : ranking(result)) {
    const Candidate& candidate = result.candidates[i];
    std::string remark;
    if (candidate.fate != Candidate::Fate::timed) {
      remark = fmt::format("{}: {}", to_string(candidate.fate), candidate.why);
    } else if (i == result.winner) {
      remark = i == result.incumbent ? "stays" : "chosen";
    } else if (i == result.incumbent) {
      remark = "was used before";
    }
    const bool timed = !candidate.times.empty();
    table.add({{cli::to_string(candidate.tiling), i == result.winner ? Tone::good : Tone::plain},
               timed ? fmt::format("{:.2f}", tune::score(candidate.times)) : "",
               timed ? fmt::format("{:.1f} %", 100 * tune::relative_noise(candidate.times)) : "",
               fmt::to_string(candidate.registers),
               fmt::format("{:.0f}", candidate.compile_ms),
               remark});
  }
  print(table.str(common.terminal));
}

base::Json to_json(const KernelRequest& request, const tune::TuneResult& result) {
  base::Json::Array rows;
  for (const std::size_t i : ranking(result)) {
    const Candidate& candidate = result.candidates[i];
    base::Json::Object row{{"tile", cli::to_string(candidate.tiling)}, {"fate", tune::to_string(candidate.fate)},
                           {"registers", candidate.registers},         {"spill_bytes", candidate.spill_bytes},
                           {"compile_ms", candidate.compile_ms},       {"chosen", i == result.winner},
                           {"incumbent", i == result.incumbent}};
    if (!candidate.why.empty()) row["why"] = candidate.why;
    base::Json::Array medians;
    for (const tune::Summary& time : candidate.times) medians.emplace_back(time.median);
    if (!candidate.times.empty()) row["microseconds"] = std::move(medians);
    rows.emplace_back(std::move(row));
  }
  base::Json::Object json = plan::to_json(request);
  json["candidates"] = std::move(rows);
  return json;
}

/// A bar for each step of the race, since the steps have lengths of their own.
class StepProgress {
 public:
  explicit StepProgress(const Terminal& terminal) : terminal_(terminal) {}

  void operator()(std::string_view step, int done, int total) {
    if (!bar_ || step != step_) {
      step_ = step;
      bar_.emplace(step_, total, terminal_);
    }
    bar_->update(done);
  }
  void close() { bar_.reset(); }

 private:
  const Terminal& terminal_;
  std::string step_;
  std::optional<Progress> bar_;
};

}  // namespace

ExitCode tune(const Common& common, const TuneArguments& arguments) {
  const auto requests = arguments.all ? one_of_each_row(shipped_requests()) : parse_requests(arguments.kernel);
  std::vector<std::vector<tune::Problem>> problems;
  if (std::ranges::find(requests, KernelKind::merge, &KernelRequest::kind) != requests.end()) {
    base::fail(ErrorCode::invalid_argument, "--kind: a merge has one tiling: there is nothing to tune");
  }
  for (const KernelRequest& request : requests) problems.push_back(problems_for(request, arguments));

  const tune::Gpu gpu(common.options);
  const int capability = gpu.info().capability;
  const auto path = table_path(arguments, capability);
  plan::TunedTable table = table_to_extend(path, common.options, capability);
  const api::Builder builder(common.options, logger_of(common));
  tune::Timer timer(gpu, common.options);
  const tune::TuneSettings settings{
      .rounds = arguments.rounds, .compile_jobs = common.options.compile_jobs, .seed = arguments.seed};

  base::Json::Array json;
  bool all_won = true;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    StepProgress progress(common.terminal);
    const auto result = tune::tune(gpu, builder, timer, table, problems[i], settings, std::ref(progress));
    progress.close();
    if (const auto winner = result.winner) {
      table.set(row_for(result, result.candidates[*winner], gpu, problems[i]));
      // After each request: whoever interrupts a long night keeps what was found.
      if (!arguments.dry_run) base::write_file_atomic(path, table.dump());
    }
    all_won = all_won && result.winner.has_value();
    if (common.json) {
      json.push_back(to_json(requests[i], result));
    } else {
      print_text(common, requests[i], result);
    }
  }
  if (common.json) print_json(json);
  if (!common.json && !arguments.dry_run && all_won) print(fmt::format("written to {}\n", path.string()));
  return all_won ? ExitCode::ok : ExitCode::wrong;
}

}  // namespace kiln::cli
