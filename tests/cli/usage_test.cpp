// What the tool says and returns when it is asked wrongly or something is missing.
#include "tool.hpp"

#include <gmock/gmock.h>

#include <algorithm>

namespace kiln::test {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

/// One line that begins with the tool's name and holds these words.
void expect_one_line(const std::string& err, const char* words) {
  EXPECT_EQ(std::ranges::count(err, '\n'), 1) << err;
  EXPECT_THAT(err, StartsWith("kiln: "));
  EXPECT_THAT(err, HasSubstr(words));
}

TEST_F(Tool, HelpNamesEveryCommandAndExitCode) {
  const ToolResult result = run({"--help"});
  EXPECT_EQ(result.exit_code, 0);
  for (const char* word : {"doctor", "render", "compile", "run", "precompile", "tune", "bench", "cache",
                           "Exit codes:", "  0 ", "  1 ", "  2 ", "  3 ", "  4 ", "  5 ", "  6 ", "  130 "}) {
    EXPECT_THAT(result.out, HasSubstr(word));
  }
  EXPECT_EQ(result.err, "");
}

TEST_F(Tool, EveryCommandHasHelp) {
  for (const char* command : {"doctor", "render", "compile", "run", "precompile", "tune", "bench", "cache"}) {
    const ToolResult result = run({command, "--help"});
    EXPECT_EQ(result.exit_code, 0) << command;
    EXPECT_THAT(result.out, HasSubstr("Usage:")) << command;
  }
}

TEST_F(Tool, VersionIsOneLine) {
  const ToolResult result = run({"--version"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.out, testing::MatchesRegex("kiln [0-9]+\\.[0-9]+\\.[0-9]+\n"));
}

struct BadCall {
  const char* name;
  std::vector<std::string> arguments;
  int exit_code;
  const char* words;
};

class BadCalls : public Tool, public testing::WithParamInterface<BadCall> {};

TEST_P(BadCalls, EndInOneLineAndTheirCode) {
  const ToolResult result = run(GetParam().arguments);
  EXPECT_EQ(result.exit_code, GetParam().exit_code) << result.out << result.err;
  expect_one_line(result.err, GetParam().words);
  EXPECT_EQ(result.out, "");
}

INSTANTIATE_TEST_SUITE_P(
    Usage, BadCalls,
    testing::Values(
        BadCall{"nothing", {}, 2, "subcommand"}, BadCall{"unknown_command", {"bake"}, 2, "see kiln --help"},
        BadCall{"unknown_option", {"compile", "--hot"}, 2, "--hot"},
        BadCall{"cache_without_action", {"cache"}, 2, "subcommand"},
        BadCall{"prune_size", {"cache", "prune", "--max-bytes", "3X"}, 2, "--max-bytes: \"3X\""},
        BadCall{"prune_age", {"cache", "prune", "--older-than", "3"}, 2, "--older-than: \"3\""},
        BadCall{"prune_age_huge", {"cache", "prune", "--older-than", "100001d"}, 2, "at most 100000"},
        BadCall{"prune_files", {"cache", "prune", "--max-files", "-1"}, 2, "--max-files"},
        BadCall{"explain_one", {"cache", "explain", "abc"}, 2, "b is required"},
        BadCall{"explain_unknown", {"cache", "explain", "abc", "def"}, 2, "\"abc\" is neither"},
        BadCall{"no_failure", {"compile", "--failed", "/no/such"}, 6, "/no/such/source.cu"},
        BadCall{"bad_dtype", {"compile", "--dtype", "fp8"}, 2, "\"fp8\""},
        BadCall{"bad_arch", {"render", "--arch", "70"}, 2, "70 is not one of"},
        BadCall{"bad_tile", {"compile", "--tile", "big"}, 2, "--tile"},
        BadCall{"bad_heads", {"run", "--heads", "5/2"}, 2, "heads_q 5 is not a multiple"},
        BadCall{"window_without_window", {"run", "--window-left", "3"}, 2, "no sliding window"},
        BadCall{"two_kernels", {"run", "--dtype", "f16,bf16"}, 2, "name 2 kernels"},
        BadCall{"bad_samples", {"run", "--samples", "-1"}, 2, "--samples"},
        BadCall{"bad_mask", {"bench", "--mask", "half"}, 2, "\"half\" is neither"},
        BadCall{"bad_jobs", {"compile", "--jobs", "lots"}, 2, "--jobs"},
        BadCall{"no_output", {"precompile"}, 2, "--output"},
        BadCall{"empty_output", {"precompile", "--arch", "90", "-o", ""}, 2, "--output is empty"},
        BadCall{"no_such_device", {"run", "--device", "99"}, 2, "device 99 does not exist: the driver sees 2"},
        BadCall{"head_dim_not_supported", {"compile", "--head-dim", "84"}, 3, "84 is not supported"},
        BadCall{"tile_does_not_exist", {"compile", "--tile", "7x7,1,1,1"}, 3, "7x7"},
        BadCall{"no_manifest", {"precompile", "/no/such/file.json", "-o", "/tmp/kiln-unused"}, 6, "/no/such/file.json"},
        BadCall{"no_options_file", {"--options", "/no/such/file.json", "doctor"}, 6, "/no/such/file.json"}),
    [](const auto& test) { return test.param.name; });

TEST_F(Tool, BadVariableIsNamed) {
  variables["KILN_JIT"] = "maybe";
  const ToolResult result = run({"doctor"});
  EXPECT_EQ(result.exit_code, 2);
  expect_one_line(result.err, "KILN_JIT: \"maybe\"");
}

TEST_F(Tool, BadOptionsFileIsNamed) {
  const auto file = folder.write("options.json", R"({"jit": 3})");
  const ToolResult result = run({"--options", file, "doctor"});
  EXPECT_EQ(result.exit_code, 2);
  expect_one_line(result.err, "jit");
}

TEST_F(Tool, FullDiskBehindStandardOutputIsAnError) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "there is no /dev/full";
  std::filesystem::create_symlink("/dev/full", folder.path() / "stdout");
  const ToolResult result = wait(start({"--help"}));
  EXPECT_EQ(result.exit_code, 6);
  expect_one_line(result.err, "standard output");
}

TEST_F(Tool, WithoutDriverGpuCommandsSayWhatIsMissing) {
  variables["KILN_CUDA_PATH"] = "/no/such/libcuda.so.1";
  for (const char* command : {"run", "bench", "tune"}) {
    const ToolResult result = run({command});
    EXPECT_EQ(result.exit_code, 3) << command;
    expect_one_line(result.err, "/no/such/libcuda.so.1");
  }
}

TEST_F(Tool, WithoutGpuTheySayThatToo) {
  variables["FAKE_CUDA"] = "devices=0";
  EXPECT_EQ(run({"run"}).exit_code, 3);
}

TEST_F(Tool, WithoutNvrtcCompilingSaysWhatIsMissing) {
  variables["KILN_NVRTC_PATH"] = "/no/such/libnvrtc.so";
  const ToolResult result = run({"compile"});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_THAT(result.err, HasSubstr("NVRTC"));
}

}  // namespace
}  // namespace kiln::test
