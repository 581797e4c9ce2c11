#include "api/runtime_state.hpp"
#include "base/fail.hpp"
#include "cli/build_info.hpp"
#include "cli/commands.hpp"
#include "cli/progress.hpp"
#include "cli/report.hpp"
#include "cli/text_table.hpp"
#include "plan/names.hpp"
#include "tune/measure.hpp"
#include "tune/merge_problem.hpp"

#include <kiln/version.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <variant>

namespace kiln::cli {
namespace {

/// One call to measure: of attention, or a merge.
struct Task {
  KernelRequest request;
  std::variant<tune::Problem, tune::MergeProblem> problem;

  [[nodiscard]] std::string shape() const {
    return std::visit([](const auto& of_kind) { return tune::shape_text(of_kind); }, problem);
  }
  [[nodiscard]] tune::Summary measure(const tune::Gpu& gpu, tune::Timer& timer, const tune::KernelPtr& kernel,
                                      int samples) const {
    if (const auto* merge = std::get_if<tune::MergeProblem>(&problem)) {
      return tune::measure_merge(gpu, timer, kernel, *merge, samples, 1);
    }
    return tune::measure(gpu, timer, kernel, std::get<tune::Problem>(problem), samples, 1);
  }
};

struct BenchRow {
  Task task;
  tune::Summary time;  ///< microseconds

  [[nodiscard]] bool is_forward() const { return task.request.kind == KernelKind::forward; }
  /// TFLOP/s of forward, else GB/s.
  [[nodiscard]] double rate() const {
    if (const auto* merge = std::get_if<tune::MergeProblem>(&task.problem)) {
      return tune::bytes(*merge) / time.median / 1e3;
    }
    const auto& problem = std::get<tune::Problem>(task.problem);
    return is_forward() ? tune::flops(problem) / time.median / 1e6 : tune::kv_bytes(problem) / time.median / 1e3;
  }
};

std::vector<std::string> lengths_of(const BenchArguments& arguments, std::string_view usual) {
  return split_list(arguments.lengths.empty() ? usual : std::string_view(arguments.lengths));
}

/// 16,384 tokens of a model 2048 wide, whatever the length.
void add_forward(const BenchArguments& arguments, KernelWords words, std::vector<Task>& tasks) {
  constexpr int kTokens = 16384;
  constexpr int kModelDim = 2048;
  words.kind = "forward";
  for (const std::string& mask : split_list(arguments.mask)) {
    if (mask != "full" && mask != "causal") {
      base::fail(ErrorCode::invalid_argument, "--mask: \"{}\" is neither full nor causal", mask);
    }
    words.causal = mask == "causal";
    for (const KernelRequest& request : parse_requests(words)) {
      const int heads = std::max(1, kModelDim / request.config.head_dim_qk);
      for (const std::string& length : lengths_of(arguments, "512,1k,2k,4k,8k,16k")) {
        ShapeWords shape = arguments.call;
        shape.splits = shape.split_size = 0;
        shape.batch = std::max(1, kTokens / parse_length(length, "--lengths"));
        shape.len_q = shape.len_k = length;
        shape.heads = fmt::to_string(heads);
        tasks.push_back({request, parse_problem(request, shape)});
      }
    }
  }
}

/// "32k", or "zipf:32k" for sequences of up to so many keys.
void set_keys(std::string_view word, ShapeWords& shape) {
  constexpr std::string_view kZipf = "zipf:";
  const bool zipf = word.starts_with(kZipf);
  shape.lengths = zipf ? "zipf" : "";
  shape.len_k = word.substr(zipf ? kZipf.size() : 0);
}

/// New tokens see each other as in a chain.
void add_decode(const BenchArguments& arguments, KernelWords words, std::vector<Task>& tasks) {
  words.kind = "decode";
  words.causal = parse_length(arguments.len_q, "--len-q") > 1;
  for (const KernelRequest& request : parse_requests(words)) {
    for (const std::string& heads : split_list(arguments.heads)) {
      for (const std::string& batch : split_list(arguments.batches)) {
        for (const std::string& length : lengths_of(arguments, "1k,8k,32k")) {
          ShapeWords shape = arguments.call;
          shape.batch = parse_length(batch, "--batch");
          shape.len_q = arguments.len_q;
          shape.heads = heads;
          set_keys(length, shape);
          tasks.push_back({request, parse_problem(request, shape)});
        }
      }
    }
  }
}

/// Of the new tokens of a batch.
void add_merge(const BenchArguments& arguments, KernelWords words, std::vector<Task>& tasks) {
  words.kind = "merge";
  words.out_dtype = arguments.out_dtype;
  words.with.clear();
  words.window = false;
  for (const KernelRequest& request : parse_requests(words)) {
    for (const std::string& heads : split_list(arguments.heads)) {
      for (const std::string& batch : split_list(arguments.batches)) {
        ShapeWords shape = arguments.call;
        shape.batch = parse_length(batch, "--batch");
        shape.len_q = arguments.len_q;
        shape.heads = heads;
        tasks.push_back({request, parse_merge_problem(request.merge, shape)});
      }
    }
  }
}

std::vector<Task> tasks_of(const BenchArguments& arguments) {
  KernelWords words;
  words.dtype = arguments.dtype;
  words.head_dim = arguments.head_dim;
  words.with = arguments.with;
  words.decode_rows = arguments.decode_rows;
  words.window = arguments.call.window_left >= 0 || arguments.call.window_right >= 0;
  std::vector<Task> tasks;
  for (const std::string& kind : split_list(arguments.kind)) {
    switch (plan::parse_kind(kind, "--kind")) {
      case KernelKind::forward:
        add_forward(arguments, words, tasks);
        break;
      case KernelKind::decode:
        add_decode(arguments, words, tasks);
        break;
      case KernelKind::merge:
        add_merge(arguments, words, tasks);
        break;
    }
  }
  return tasks;
}

void print_text(const Common& common, const tune::Gpu& gpu, const std::vector<BenchRow>& rows) {
  print(fmt::format("{}, median of calls timed one by one, random data\n", gpu.info().name));
  using enum TextTable::Align;
  TextTable table({{"kernel", left}, {"shape", left}, {"us", right}, {"noise", right}, {"rate", right}, {"", left}});
  for (const BenchRow& row : rows) {
    table.add({plan::describe(row.task.request), row.task.shape(), fmt::format("{:.2f}", row.time.median),
               fmt::format("{:.1f} %", 100 * row.time.noise / std::max(row.time.median, 1e-9)),
               fmt::format("{:.1f}", row.rate()), row.is_forward() ? "TFLOP/s" : "GB/s"});
  }
  print(table.str(common.terminal));
}

base::Json to_json(const BenchRow& row) {
  base::Json::Object json = plan::to_json(row.task.request);
  std::visit([&](const auto& problem) { add_shape(problem, json); }, row.task.problem);
  json["microseconds"] = row.time.median;
  json["low"] = row.time.low;
  json["high"] = row.time.high;
  json[row.is_forward() ? "tflops" : "gbps"] = row.rate();
  return json;
}

base::Json versions(const Options& options) {
  const auto file = jit::find_compiler(options.nvrtc_path);
  return base::Json::Object{{"kiln", version()}, {"nvrtc", file ? jit::Compiler::load(*file)->version() : "none"}};
}

void print_record(const Common& common, const BenchArguments& arguments, const tune::Gpu& gpu,
                  const std::vector<BenchRow>& rows) {
  base::Json::Array json;
  for (const BenchRow& row : rows) json.push_back(to_json(row));
  print_json(base::Json::Object{{"device", gpu.info().name},
                                {"driver", gpu.driver()->version()},
                                {"versions", versions(common.options)},
                                {"commit", arguments.commit.empty() ? build_commit() : arguments.commit},
                                {"command", common.command},
                                {"rows", std::move(json)}});
}

}  // namespace

ExitCode bench(const Common& common, const BenchArguments& arguments) {
  const auto tasks = tasks_of(arguments);
  const tune::Gpu gpu(common.options);
  Options options = common.options;
  options.device = gpu.ordinal();
  const auto runtime = detail::RuntimeState::make(options);
  std::set<KernelRequest> requests;
  for (const Task& task : tasks) requests.insert(task.request);
  {
    Progress progress("compiling", static_cast<int>(requests.size()), common.terminal);
    const std::vector<KernelRequest> list(requests.begin(), requests.end());
    runtime->prepare(list, [&](const kiln::Progress& at) { progress.update(at.done); });
  }

  tune::Timer timer(gpu, common.options);
  std::vector<BenchRow> rows;
  {
    Progress progress("measuring", static_cast<int>(tasks.size()), common.terminal);
    for (const Task& task : tasks) {
      const auto kernel = runtime->get(task.request, nullptr);
      rows.push_back({task, task.measure(gpu, timer, kernel, arguments.samples)});
      progress.update(static_cast<int>(rows.size()), task.shape());
    }
  }
  if (common.json) {
    print_record(common, arguments, gpu, rows);
  } else {
    print_text(common, gpu, rows);
  }
  return ExitCode::ok;
}

}  // namespace kiln::cli
