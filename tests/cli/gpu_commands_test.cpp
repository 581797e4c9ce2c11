// run, bench and tune on the fake GPU: everything up to the numbers.
#include "cli/commands.hpp"
#include "cuda/driver.hpp"
#include "plan/plan.hpp"
#include "plan/tuned_table.hpp"
#include "tool.hpp"
#include "tune/attending_gpu.hpp"
#include "tune/merging_gpu.hpp"

#include <gmock/gmock.h>

#include <fstream>
#include <iterator>

namespace kiln::test {
namespace {

using testing::HasSubstr;

class Run : public Tool, public testing::WithParamInterface<const char*> {};

TEST_P(Run, WrongNumbersExitWithOne) {
  const ToolResult result =
      run({"run", "--kind", GetParam(), "--len-k", "64", "--heads", "4/2", "--rows", "16", "--json"});
  EXPECT_EQ(result.exit_code, 1) << result.err;
  const base::Json json = result.json();
  EXPECT_FALSE(json.at("check").at("passed").as_bool());
  EXPECT_THAT(json.at("check").at("first_wrong").as_string(), HasSubstr("batch 0, query 0, head 0"));
  EXPECT_GT(json.at("time").at("microseconds").as_double(), 0);
  EXPECT_EQ(json.at("kind").as_string(), GetParam());
}

TEST_P(Run, TimingAloneHasNothingToBeWrong) {
  const ToolResult result = run({"run", "--kind", GetParam(), "--len-k", "64", "--rows", "0"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr(std::string_view(GetParam()) == "forward" ? "TFLOP/s" : "GB/s"));
}

TEST_P(Run, ARefusedLaunchIsADriverError) {
  variables["FAKE_CUDA"] = "fail=cuLaunchKernelEx:719";
  const ToolResult result = run({"run", "--kind", GetParam(), "--len-k", "64"});
  EXPECT_EQ(result.exit_code, 5);
  EXPECT_THAT(result.err, HasSubstr("719"));
}

TEST_P(Run, OutOfMemoryIsADriverError) {
  variables["FAKE_CUDA"] = "memory=1000000";
  EXPECT_EQ(run({"run", "--kind", GetParam()}).exit_code, 5);
}

TEST_P(Run, TheSecondTimeNothingIsCompiledForTheCheck) {
  const std::vector<std::string> arguments = {"run",    "--kind", GetParam(),  "--len-k", "64",
                                              "--rows", "8",      "--samples", "0"};
  EXPECT_EQ(run(arguments).exit_code, 1);
  const int before = compiles();
  EXPECT_EQ(before, 1);
  EXPECT_EQ(run(arguments).exit_code, 1);
  EXPECT_EQ(compiles(), before);
}

INSTANTIATE_TEST_SUITE_P(Kinds, Run, testing::Values("forward", "decode"),
                         [](const auto& test) { return std::string(test.param); });

TEST_F(Tool, AMergeOfWrongNumbersExitsWithOne) {
  const std::vector<std::string> arguments = {"run",  "--kind",  "merge", "--dtype",  "f32", "--out-dtype",
                                              "bf16", "--batch", "3",     "--states", "5",   "--json"};
  const ToolResult result = run(arguments);
  EXPECT_EQ(result.exit_code, 1) << result.err;
  const base::Json json = result.json();
  EXPECT_FALSE(json.at("check").at("passed").as_bool());
  EXPECT_GT(json.at("time").at("microseconds").as_double(), 0);
  EXPECT_EQ(json.at("time").at("unit").as_string(), "GB/s");
  EXPECT_EQ(json.at("kind").as_string(), "merge");
  EXPECT_EQ(json.at("out_dtype").as_string(), "bf16");
  EXPECT_EQ(json.at("states").as_int(0, 99), 5);
  EXPECT_EQ(json.at("batch").as_int(0, 99), 3);
  const ToolResult refused = run({"run", "--kind", "merge", "--states", "17"});
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.err, HasSubstr("states is 17: it must be between 1 and 16"));
}

TEST_F(Tool, BenchMeasuresMergesBesideDecode) {
  const ToolResult result =
      run({"bench", "--kind", "decode,merge", "--head-dim", "64", "--lengths", "1k", "--batch", "1,4", "--heads", "8/2",
           "--states", "3", "--out-dtype", "f32", "--samples", "2", "--json"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const auto rows = result.json().at("rows").as_array();
  ASSERT_EQ(rows.size(), 4U);
  const base::Json& merge = rows.back();
  EXPECT_EQ(merge.at("kind").as_string(), "merge");
  EXPECT_EQ(merge.at("states").as_int(0, 99), 3);
  EXPECT_EQ(merge.at("heads").as_int(0, 99), 8);
  const double bytes = 4 * 8 * (3 * (64 * 2 + 4) + 64 * 4 + 4);
  EXPECT_NEAR(merge.at("gbps").as_double() * merge.at("microseconds").as_double() * 1e3, bytes, 1);
}

TEST_F(Tool, RunTakesATile) {
  const ToolResult result = run({"run", "--tile", "64x32,4,2,1", "--len-q", "32", "--rows", "0", "--json"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(run({"cache", "ls"}).out, HasSubstr("m64n32w4s2"));
}

TEST_F(Tool, BenchWritesARecord) {
  const ToolResult result = run({"bench", "--lengths", "512,1k", "--head-dim", "64", "--batch", "1", "--samples", "2",
                                 "--commit", "abc", "--json"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const base::Json json = result.json();
  EXPECT_NE(json.at("device").as_string(), "");
  EXPECT_EQ(json.at("driver").as_int(0, 99999), 13000);
  EXPECT_EQ(json.at("versions").at("nvrtc").as_string(), "13.0");
  EXPECT_EQ(json.at("commit").as_string(), "abc");
  EXPECT_THAT(json.at("command").as_string(), testing::StartsWith("kiln bench --lengths 512,1k"));
  ASSERT_EQ(json.at("rows").as_array().size(), 2U * 2 + 2);
  for (const base::Json& row : json.at("rows").as_array()) {
    EXPECT_GT(row.at(row.at("kind").as_string() == "forward" ? "tflops" : "gbps").as_double(), 0);
  }
}

TEST_F(Tool, BenchPrintsATable) {
  const ToolResult result = run({"bench", "--kind", "decode", "--lengths", "1k", "--batch", "1", "--samples", "2"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("decode bf16 d128  1×32/8 heads, 1024 keys"));
}

TEST_F(Tool, BenchTakesWhatADecodeCallMayHave) {
  const ToolResult result = run({"bench",       "--kind",     "decode",
                                 "--lengths",   "1k,zipf:1k", "--batch",
                                 "4",           "--heads",    "8/2",
                                 "--len-q",     "16",         "--decode-rows",
                                 "64",          "--with",     "paged,softcap",
                                 "--page-size", "64",         "--splits",
                                 "2",           "--head-dim", "64",
                                 "--samples",   "2",          "--json"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const auto rows = result.json().at("rows").as_array();
  ASSERT_EQ(rows.size(), 2U);
  for (const base::Json& row : rows) {
    EXPECT_EQ(row.at("len_q").as_int(0, 99), 16);
    EXPECT_EQ(row.at("decode_rows").as_int(0, 99), 64);
    EXPECT_EQ(row.at("page_size").as_int(0, 99), 64);
    EXPECT_EQ(row.at("num_splits").as_int(0, 99), 2);
    EXPECT_TRUE(row.at("causal").as_bool());
    EXPECT_TRUE(row.at("softcap").as_bool());
  }
  EXPECT_EQ(rows[0].find("keys_in_all"), nullptr);
  const auto keys = rows[1].at("keys_in_all").as_int(0, 1 << 20);
  EXPECT_GT(keys, 4);
  EXPECT_LT(keys, 4 * 1024);
}

TEST_F(Tool, BenchOfAWindowCountsWhatIsSeen) {
  const auto arguments = [](const char* left) {
    return std::vector<std::string>{"bench", "--kind",        "decode", "--lengths", "1k", "--batch", "1", "--head-dim",
                                    "64",    "--window-left", left,     "--samples", "1",  "--json"};
  };
  const auto rate = [&](const char* left) {
    const base::Json row = run(arguments(left)).json().at("rows").as_array()[0];
    return row.at("gbps").as_double() * row.at("microseconds").as_double();
  };
  EXPECT_NEAR(rate("-1") / rate("127"), 8, 0.01);
}

TEST_F(Tool, TuneWritesNoTableOfWrongKernels) {
  const auto table = folder.path() / "sm_90.json";
  const ToolResult result = run({"tune", "--shape", "1x16x16:2/1", "--rounds", "1", "-o", folder.path(), "--json"});
  EXPECT_EQ(result.exit_code, 1) << result.err;
  EXPECT_FALSE(std::filesystem::exists(table));
  const base::Json candidates = result.json().as_array()[0].at("candidates");
  EXPECT_GT(candidates.as_array().size(), 5U);
  EXPECT_EQ(candidates.as_array()[0].at("fate").as_string(), "wrong");
}

TEST_F(Tool, TuneRefusesAMalformedTable) {
  folder.write("sm_90.json", R"({"capability": 90, "rows": [{"kind": "forward"}]})");
  const ToolResult result = run({"tune", "--shape", "1x16x16:2/1", "-o", folder.path()});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("sm_90.json"));
}

TEST_F(Tool, TuneRefusesAnotherArchitecturesTable) {
  folder.write("mine.json", R"({"capability": 80, "rows": []})");
  const ToolResult result = run({"tune", "--shape", "1x16x16:2/1", "-o", folder.path() / "mine.json"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("is for sm_80, but this GPU is sm_90"));
}

/// The commands called in this process, where the fake GPU can be given kernels that compute.
class InProcess : public testing::Test {
 protected:
  [[nodiscard]] cli::Common common() const {
    cli::Common out;
    out.options.cuda_path = FakeCuda::path();
    out.options.nvrtc_path = KILN_NVRTC_SHIM;
    out.options.cache_dir = std::filesystem::path();
    out.options.log_level = LogLevel::off;
    return out;
  }
  static plan::DeviceInfo device() { return cuda::Driver::load(FakeCuda::path())->device_info(0); }

  TempFolder folder;
  ScopedVariable use_fake{"NVRTC_SHIM_FAKE", "1"};
};

struct RunCase {
  const char* name;
  cli::KernelWords kernel;
  cli::ShapeWords shape;
};

const cli::ShapeWords kFew{.batch = 3, .len_q = "9", .len_k = "40", .heads = "4/2"};

cli::ShapeWords few(auto change) {
  cli::ShapeWords shape = kFew;
  change(shape);
  return shape;
}

class RunPasses : public InProcess, public testing::WithParamInterface<RunCase> {};

TEST_P(RunPasses, RightNumbersOf) {
  cli::RunArguments arguments;
  arguments.kernel = GetParam().kernel;
  arguments.shape = GetParam().shape;
  arguments.samples = 0;
  const AttendingGpu gpu(cli::parse_request(arguments.kernel), 1);
  testing::internal::CaptureStdout();
  const cli::ExitCode code = cli::run(common(), arguments);
  const std::string out = testing::internal::GetCapturedStdout();
  EXPECT_EQ(code, cli::ExitCode::ok) << out;
  EXPECT_THAT(out, HasSubstr("check   right"));
}

INSTANTIATE_TEST_SUITE_P(
    Problems, RunPasses,
    testing::Values(
        RunCase{"forward", {}, kFew}, RunCase{"float32", {.dtype = "f32"}, kFew},
        RunCase{"forward_scores", {.causal = true, .with = "softcap,alibi,sinks,additive,output_f32"}, kFew},
        RunCase{"forward_pages", {.with = "mask,ragged,paged"}, few([](auto& shape) { shape.page_size = 3; })},
        RunCase{"fixed_window", {.fixed_window = "5/1"}, kFew},
        RunCase{"decode", {.kind = "decode"}, few([](auto& shape) { shape.len_q = ""; })},
        RunCase{"decode_chain", {.kind = "decode", .causal = true, .decode_rows = "64"}, kFew},
        RunCase{"decode_window", {.kind = "decode", .window = true}, few([](auto& shape) { shape.window_left = 4; })},
        RunCase{"decode_scores", {.kind = "decode", .with = "softcap,alibi,sinks,additive,ragged,output_f32"}, kFew},
        RunCase{"decode_mask", {.kind = "decode", .with = "mask"}, few([](auto& shape) { shape.splits = 3; })},
        RunCase{"decode_pages", {.kind = "decode", .with = "paged"}, few([](auto& shape) { shape.split_size = 16; })},
        RunCase{"decode_zipf", {.kind = "decode", .with = "paged"}, few([](auto& shape) {
                  shape.lengths = "zipf";
                  shape.page_size = 1;
                })}),
    [](const auto& test) { return test.param.name; });

TEST_F(InProcess, RightMergesPass) {
  for (const char* dtype : {"f16", "bf16", "f32"}) {
    cli::RunArguments arguments;
    arguments.kernel = {.kind = "merge", .dtype = dtype, .head_dim = "64", .out_dtype = "bf16"};
    arguments.shape = {.batch = 3, .len_q = "9", .heads = "4/2", .states = 7};
    arguments.samples = 0;
    const MergingGpu gpu(cli::parse_request(arguments.kernel).merge);
    testing::internal::CaptureStdout();
    const cli::ExitCode code = cli::run(common(), arguments);
    const std::string out = testing::internal::GetCapturedStdout();
    EXPECT_EQ(code, cli::ExitCode::ok) << out;
    EXPECT_THAT(out, HasSubstr("7 states, 3×9×4 rows"));
    EXPECT_THAT(out, HasSubstr("check   right"));
  }
}

TEST_F(InProcess, TuneExtendsTheTable) {
  const KernelRequest request{KernelKind::forward, {.head_dim_qk = 64, .head_dim_v = 64}};
  const auto path = folder.path() / "sm_90.json";
  plan::TunedTable before;
  before.capability = 90;
  const KernelRequest other{KernelKind::decode, {}};
  before.set({.request = other,
              .device = "Another GPU",
              .version = plan::template_version(KernelKind::decode),
              .tiling = plan::reasoned_tiling(other, device()),
              .note = "kept"});
  folder.write("sm_90.json", before.dump());

  const auto tilings = plan::candidate_tilings(request, device());
  const AttendingGpu gpu(request, static_cast<int>(tilings.size()));
  cli::TuneArguments arguments;
  arguments.kernel.head_dim = "64";
  arguments.shapes = {"1x5x9:2/1"};
  arguments.rounds = 2;
  arguments.output = folder.path();
  testing::internal::CaptureStdout();
  const cli::ExitCode code = cli::tune(common(), arguments);
  const std::string out = testing::internal::GetCapturedStdout();
  EXPECT_EQ(code, cli::ExitCode::ok) << out;
  EXPECT_THAT(out, HasSubstr("stays"));

  std::ifstream file(path);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const auto after = plan::TunedTable::parse(text, "sm_90.json");
  EXPECT_EQ(after.find(request, device()), plan::reasoned_tiling(request, device()));
  EXPECT_THAT(text, HasSubstr("Another GPU"));
  EXPECT_THAT(text, HasSubstr("\"measured\": true"));
  EXPECT_THAT(text, HasSubstr("1×2/1 heads, 5 queries, 9 keys"));
}

}  // namespace
}  // namespace kiln::test
