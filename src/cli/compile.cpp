#include "api/builder.hpp"
#include "api/compile_jobs.hpp"
#include "base/files.hpp"
#include "cli/commands.hpp"
#include "cli/planning.hpp"
#include "cli/progress.hpp"
#include "cli/report.hpp"
#include "cli/text_table.hpp"

#include <kiln/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace kiln::cli {
namespace {

struct Outcome {
  plan::KernelConfig config;
  cache::Entry entry;
  std::string log;
  std::vector<std::string> warnings;
  std::optional<Error> error;

  [[nodiscard]] bool healthy() const { return entry.spill_bytes == 0 && warnings.empty(); }
};

void compile_one(const api::Builder& builder, Outcome& outcome) {
  try {
    outcome.entry = builder.compile(outcome.config, &outcome.log);
    outcome.warnings = jit::parse_log(outcome.log, outcome.entry.entry).warnings;
  } catch (const Error& error) {
    outcome.error = error;
  }
}

void keep(const std::filesystem::path& folder, const api::Builder& builder, const Outcome& outcome) {
  std::filesystem::create_directories(folder);
  const auto& image = outcome.entry.image;
  const std::string name = plan::name_of(outcome.config);
  base::write_file_atomic(folder / (name + ".cu"), builder.blueprint(outcome.config).source.text());
  base::write_file_atomic(folder / (name + ".cubin"), {reinterpret_cast<const char*>(image.data()), image.size()});
  base::write_file_atomic(folder / (name + ".log"), outcome.log);
}

void print_table(const Common& common, const std::vector<Outcome>& outcomes) {
  using enum TextTable::Align;
  TextTable table({{"kernel", left},
                   {"target", left},
                   {"registers", right},
                   {"smem", right},
                   {"spills", right},
                   {"warnings", right},
                   {"size", right},
                   {"ms", right}});
  for (const Outcome& outcome : outcomes) {
    const cache::Entry& entry = outcome.entry;
    if (outcome.error) {
      table.add({plan::name_of(outcome.config), {"failed", Tone::bad}});
      continue;
    }
    const auto tone_of = [](bool bad) { return bad ? Tone::bad : Tone::plain; };
    table.add({entry.name,
               entry.target,
               fmt::to_string(entry.registers),
               fmt::to_string(entry.smem_bytes),
               {fmt::to_string(entry.spill_bytes), tone_of(entry.spill_bytes > 0)},
               {fmt::to_string(outcome.warnings.size()), tone_of(!outcome.warnings.empty())},
               bytes_text(entry.image.size()),
               fmt::format("{:.0f}", entry.compile_ms)});
  }
  print(table.str(common.terminal));
  for (const Outcome& outcome : outcomes) {
    for (const std::string& warning : outcome.warnings) print(fmt::format("{}: {}\n", outcome.entry.name, warning));
  }
}

base::Json json_of(const std::vector<Outcome>& outcomes) {
  base::Json::Array rows;
  for (const Outcome& outcome : outcomes) {
    if (outcome.error) {
      rows.emplace_back(base::Json::Object{{"name", plan::name_of(outcome.config)}, {"error", outcome.error->what()}});
      continue;
    }
    base::Json::Object row = cli::to_json(outcome.entry);
    row["image_bytes"] = outcome.entry.image.size();
    row["warnings"] = base::Json::Array(outcome.warnings.begin(), outcome.warnings.end());
    rows.emplace_back(std::move(row));
  }
  return rows;
}

}  // namespace

ExitCode compile(const Common& common, const CompileArguments& arguments) {
  if (arguments.failed) return compile_failed(common, *arguments.failed);
  const auto requests = arguments.all ? shipped_requests() : parse_requests(arguments.kernel);
  const auto items = on_architectures(requests, arguments.arch, arguments.all);
  const api::Builder builder(common.options, logger_of(common));
  std::vector<Outcome> outcomes;
  for (const auto& config : planned(items, arguments.tile, common.options)) {
    outcomes.emplace_back().config = config;
  }

  {
    Progress progress("compiling", static_cast<int>(outcomes.size()), common.terminal);
    std::vector<api::Job> jobs;
    for (Outcome& outcome : outcomes) jobs.emplace_back([&] { compile_one(builder, outcome); });
    api::run_jobs(jobs, api::job_limit(common.options.compile_jobs),
                  [&](const kiln::Progress& at) { progress.update(at.done); });
  }

  if (common.json) {
    print_json(json_of(outcomes));
  } else {
    print_table(common, outcomes);
  }
  for (const Outcome& outcome : outcomes) {
    if (outcome.error) throw *outcome.error;
    if (arguments.output) keep(*arguments.output, builder, outcome);
  }
  const bool healthy = std::ranges::all_of(outcomes, &Outcome::healthy);
  return arguments.strict && !healthy ? ExitCode::wrong : ExitCode::ok;
}

}  // namespace kiln::cli
