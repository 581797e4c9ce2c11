#include "plan/plan.hpp"
#include "tool.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <iterator>
#include <sstream>
#include <thread>

namespace kiln::test {
namespace {

using testing::HasSubstr;

class Precompile : public Tool {
 protected:
  const std::string store = folder.path() / "precompiled";

  /// Eight kernels.
  [[nodiscard]] std::filesystem::path manifest() const {
    return folder.write("manifest.json", R"({"architectures": [80, 90], "kernels": [
        {"dtype": ["bf16", "f16"], "head_dim": 128, "causal": [true, false]}]})");
  }
};

TEST_F(Precompile, MakesTheManifestAndThenOnlyWhatIsMissing) {
  const ToolResult first = run({"precompile", manifest(), "-o", store, "--json"});
  EXPECT_EQ(first.exit_code, 0) << first.err;
  EXPECT_EQ(first.json().at("kernels").as_int(0, 1000), 8);
  EXPECT_EQ(first.json().at("made").as_int(0, 1000), 8);
  EXPECT_EQ(compiles(), 8);

  const ToolResult second = run({"precompile", manifest(), "-o", store, "--json"});
  EXPECT_EQ(second.json().at("made").as_int(0, 1000), 0);
  EXPECT_EQ(second.json().at("present").as_int(0, 1000), 8);
  EXPECT_EQ(compiles(), 8);
}

TEST_F(Precompile, ServesAMachineThatMayNotCompile) {
  const std::vector<std::string> use = {"run", "--len-q", "64", "--rows", "8"};
  variables["KILN_JIT"] = "off";
  variables["KILN_PRECOMPILED"] = store;
  const ToolResult without = run(use);
  EXPECT_EQ(without.exit_code, 3);
  EXPECT_THAT(without.err, HasSubstr("kiln precompile --kind forward --dtype bf16 --head-dim 128/128"));

  ASSERT_EQ(run({"precompile", manifest(), "-o", store}).exit_code, 0) << "precompile compiles whatever KILN_JIT says";
  const int before = compiles();
  variables["KILN_NVRTC_PATH"] = "/no/libnvrtc.so";
  const ToolResult with = run(use);
  EXPECT_EQ(with.exit_code, 1) << "the fake GPU computes nothing, so it ran: " << with.err;
  EXPECT_THAT(with.out, HasSubstr("WRONG"));
  EXPECT_EQ(compiles(), before);
}

TEST_F(Precompile, TheCommandThatJitOffPrintsMakesTheKernelThatIsThenFound) {
  const std::vector<std::string> use = {"run",      "--dtype", "f16",      "--head-dim", "64/128",
                                        "--causal", "--align", "top-left", "--window",   "--len-q",
                                        "64",       "--rows",  "8"};
  variables["KILN_JIT"] = "off";
  const ToolResult without = run(use);
  ASSERT_EQ(without.exit_code, 3);
  const std::size_t begin = without.err.find("kiln precompile ");
  const std::size_t end = without.err.find(", and set KILN_PRECOMPILED");
  ASSERT_TRUE(begin != std::string::npos && end != std::string::npos) << without.err;
  std::istringstream command(without.err.substr(begin, end - begin));
  std::vector<std::string> words{std::istream_iterator<std::string>(command), {}};
  words.erase(words.begin());
  std::ranges::replace(words, std::string("FOLDER"), store);
  ASSERT_EQ(run(words).exit_code, 0);
  const int before = compiles();
  variables["KILN_PRECOMPILED"] = "/no/such:" + store;
  EXPECT_EQ(run(use).exit_code, 1) << "the fake GPU computes nothing, so it ran";
  EXPECT_EQ(compiles(), before);
}

TEST_F(Precompile, WhatARunRecordsServesItAfterwards) {
  const std::string record = folder.path() / "used.json";
  const std::vector<std::string> use = {"run", "--kind", "decode", "--len-k", "64", "--rows", "8"};
  variables["KILN_JIT"] = "off";
  variables["KILN_RECORD"] = record;
  ASSERT_EQ(run(use).exit_code, 3) << "recorded though it is missing";
  variables.erase("KILN_RECORD");

  const ToolResult made = run({"precompile", record, "-o", store, "--json"});
  EXPECT_EQ(made.exit_code, 0) << made.err;
  EXPECT_EQ(made.json().at("made").as_int(0, 1000), 1);
  EXPECT_EQ(compiles(), 1);
  variables["KILN_CACHE_DIR"] = store;
  EXPECT_EQ(run(use).exit_code, 1) << "the fake GPU computes nothing, so it ran";
  EXPECT_EQ(compiles(), 1);
}

TEST_F(Precompile, ARecordsBadLineIsNamed) {
  const auto file = folder.write("used.json", R"({"kind": "decode", "architectures": [90]}
{"kind": "decode", "architectures": [90], "head_)");
  const ToolResult result = run({"precompile", file, "-o", store});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr(file.string() + ":2: "));
  EXPECT_EQ(compiles(), 0);
}

TEST_F(Precompile, NeedsNoManifest) {
  const ToolResult result = run({"precompile", "--kind", "forward,decode", "--arch", "90", "-o", store, "--json"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.json().at("kernels").as_int(0, 1000), 2);
}

TEST_F(Precompile, ServesTunedAndUntunedGpusOfAnArchitecture) {
  const KernelRequest request{KernelKind::decode, {}};
  const plan::DeviceInfo device = plan::reference_device(90);
  auto tilings = plan::candidate_tilings(request, device);
  std::erase(tilings, plan::reasoned_tiling(request, device));
  plan::TunedTable table;
  table.capability = 90;
  table.set({.request = request,
             .device = device.name,
             .version = plan::template_version(request.kind),
             .tiling = tilings.front(),
             .note = "any other"});
  folder.write("sm_90.json", table.dump());
  const ToolResult result = run({"precompile", "--kind", "forward,decode", "--arch", "90", "-o", store, "--json"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.json().at("kernels").as_int(0, 1000), 3);
}

TEST_F(Precompile, MalformedManifestIsNamedByPlace) {
  const auto file = folder.write("bad.json", R"({"architectures": [90], "kernels": [{"dtype": "fp8"}]})");
  const ToolResult result = run({"precompile", file, "-o", store});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("bad.json"));
  EXPECT_THAT(result.err, HasSubstr("kernels[0].dtype"));
  EXPECT_EQ(compiles(), 0);
}

TEST_F(Precompile, AFolderThatCannotBeIsAnError) {
  const auto file = folder.write("occupied", "a file");
  const ToolResult result = run({"precompile", "--arch", "90", "-o", file});
  EXPECT_EQ(result.exit_code, 6);
  EXPECT_THAT(result.err, HasSubstr("could not be kept in " + file.string()));
}

TEST_F(Precompile, AFolderThatOthersMayWriteIsRefusedBeforeAnythingIsCompiled) {
  namespace fs = std::filesystem;
  ASSERT_TRUE(fs::create_directory(store));
  fs::permissions(store, fs::perms::others_write, fs::perm_options::add);
  variables["KILN_LOG"] = "error";
  const std::vector<std::string> precompile = {"precompile", manifest(), "-o", store};
  const ToolResult refused = run(precompile);
  EXPECT_EQ(refused.exit_code, 6);
  EXPECT_THAT(refused.err, HasSubstr(store + " is writable by everyone"));
  EXPECT_THAT(refused.err, HasSubstr("chmod go-w"));
  EXPECT_EQ(compiles(), 0);

  fs::permissions(store, fs::perms::group_write | fs::perms::others_write, fs::perm_options::remove);
  EXPECT_EQ(run(precompile).exit_code, 0) << "what the error says to do does not help";
}

TEST_F(Precompile, OneFailureDoesNotStopTheOthers) {
  variables["NVRTC_SHIM_FAIL"] = "compile";
  const ToolResult result = run({"precompile", manifest(), "-o", store, "--json"});
  EXPECT_EQ(result.exit_code, 4);
  EXPECT_EQ(result.json().at("failed").as_array().size(), 8U);
}

TEST_F(Precompile, InterruptedItLeavesAUsableFolder) {
  variables["NVRTC_SHIM_DELAY_MS"] = "150";
  const pid_t process = start({"precompile", manifest(), "-o", store, "--jobs", "1", "--json"});
  while (compiles() < 2) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  kill(process, SIGINT);
  const ToolResult interrupted = wait(process);
  EXPECT_EQ(interrupted.exit_code, 130) << interrupted.err;
  const auto made = interrupted.json().at("made").as_int(0, 8);
  EXPECT_GE(made, 1);
  EXPECT_LT(made, 8);
  const ToolResult verify = run({"cache", "verify", "--folder", store, "--json"});
  EXPECT_EQ(verify.exit_code, 0);
  EXPECT_EQ(verify.json().at("files").as_int(0, 8), made);

  variables.erase("NVRTC_SHIM_DELAY_MS");
  const ToolResult rest = run({"precompile", manifest(), "-o", store, "--json"});
  EXPECT_EQ(rest.json().at("present").as_int(0, 8), made);
  EXPECT_EQ(rest.json().at("made").as_int(0, 8), 8 - made);
}

TEST_F(Precompile, ManyProcessesMakeEachKernelOnce) {
  variables["NVRTC_SHIM_DELAY_MS"] = "10";
  const auto kernels = manifest();
  std::vector<pid_t> processes;
  for (int i = 0; i < 6; ++i) processes.push_back(start({"precompile", kernels, "-o", store, "--jobs", "2"}));
  for (const pid_t process : processes) EXPECT_EQ(wait(process).exit_code, 0);
  EXPECT_EQ(compiles(), 8) << "six processes, eight keys";
}

TEST_F(Precompile, ReportsProgressInLinesWhereThereIsNoTerminal) {
  variables["NVRTC_SHIM_DELAY_MS"] = "400";
  const ToolResult result = run({"precompile", manifest(), "-o", store, "--jobs", "2"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.err, testing::ContainsRegex("compiling: [0-9]/8, [0-9.]+ s left"));
  EXPECT_THAT(result.out, HasSubstr("8 of 8 kernels"));
}

}  // namespace
}  // namespace kiln::test
