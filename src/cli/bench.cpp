#include "api/runtime_state.hpp"
#include "base/fail.hpp"
#include "cli/build_info.hpp"
#include "cli/commands.hpp"
#include "cli/progress.hpp"
#include "cli/report.hpp"
#include "cli/text_table.hpp"
#include "plan/names.hpp"
#include "tune/measure.hpp"

#include <kiln/version.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace kiln::cli {
namespace {

struct BenchRow {
  tune::Problem problem;
  tune::Summary time;  ///< microseconds

  [[nodiscard]] bool is_forward() const { return problem.request.kind == KernelKind::forward; }
  [[nodiscard]] double tflops() const { return tune::flops(problem) / time.median / 1e6; }
  [[nodiscard]] double gbps() const { return tune::kv_bytes(problem) / time.median / 1e3; }
};

std::vector<std::string> lengths_of(const BenchArguments& arguments, std::string_view usual) {
  return split_list(arguments.lengths.empty() ? usual : std::string_view(arguments.lengths));
}

/// 16,384 tokens of a model 2048 wide, whatever the length.
void add_forward(const BenchArguments& arguments, KernelWords words, std::vector<tune::Problem>& problems) {
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
        problems.push_back(parse_problem(request, shape));
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
void add_decode(const BenchArguments& arguments, KernelWords words, std::vector<tune::Problem>& problems) {
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
          problems.push_back(parse_problem(request, shape));
        }
      }
    }
  }
}

std::vector<tune::Problem> problems_of(const BenchArguments& arguments) {
  KernelWords words;
  words.dtype = arguments.dtype;
  words.head_dim = arguments.head_dim;
  words.with = arguments.with;
  words.decode_rows = arguments.decode_rows;
  words.window = arguments.call.window_left >= 0 || arguments.call.window_right >= 0;
  std::vector<tune::Problem> problems;
  for (const std::string& kind : split_list(arguments.kind)) {
    if (plan::parse_kind(kind, "--kind") == KernelKind::forward) {
      add_forward(arguments, words, problems);
    } else {
      add_decode(arguments, words, problems);
    }
  }
  return problems;
}

void print_text(const Common& common, const tune::Gpu& gpu, const std::vector<BenchRow>& rows) {
  print(fmt::format("{}, median of calls timed one by one, random data\n", gpu.info().name));
  using enum TextTable::Align;
  TextTable table({{"kernel", left}, {"shape", left}, {"us", right}, {"noise", right}, {"rate", right}, {"", left}});
  for (const BenchRow& row : rows) {
    const KernelRequest& request = row.problem.request;
    table.add({fmt::format("{} {}", plan::to_string(request.kind), to_string(request.config)),
               tune::shape_text(row.problem), fmt::format("{:.2f}", row.time.median),
               fmt::format("{:.1f} %", 100 * row.time.noise / std::max(row.time.median, 1e-9)),
               fmt::format("{:.1f}", row.is_forward() ? row.tflops() : row.gbps()),
               row.is_forward() ? "TFLOP/s" : "GB/s"});
  }
  print(table.str(common.terminal));
}

base::Json to_json(const BenchRow& row) {
  const tune::Problem& problem = row.problem;
  base::Json::Object json = plan::to_json(problem.request);
  add_shape(problem, json);
  json["microseconds"] = row.time.median;
  json["low"] = row.time.low;
  json["high"] = row.time.high;
  json[row.is_forward() ? "tflops" : "gbps"] = row.is_forward() ? row.tflops() : row.gbps();
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
  const auto problems = problems_of(arguments);
  const tune::Gpu gpu(common.options);
  Options options = common.options;
  options.device = gpu.ordinal();
  const auto runtime = detail::RuntimeState::make(options);
  std::set<KernelRequest> requests;
  for (const tune::Problem& problem : problems) requests.insert(problem.request);
  {
    Progress progress("compiling", static_cast<int>(requests.size()), common.terminal);
    const std::vector<KernelRequest> list(requests.begin(), requests.end());
    runtime->prepare(list, [&](const kiln::Progress& at) { progress.update(at.done); });
  }

  tune::Timer timer(gpu, common.options);
  std::vector<BenchRow> rows;
  {
    Progress progress("measuring", static_cast<int>(problems.size()), common.terminal);
    for (const tune::Problem& problem : problems) {
      const auto kernel = runtime->get(problem.request, nullptr);
      rows.push_back({problem, tune::measure(gpu, timer, kernel, problem, arguments.samples, 1)});
      progress.update(static_cast<int>(rows.size()), tune::shape_text(problem));
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
