// doctor, render, compile and cache.
#include "tool.hpp"

#include <gmock/gmock.h>

#include <fstream>
#include <iterator>

namespace kiln::test {
namespace {

using testing::HasSubstr;
using testing::Not;

/// The finding of `kiln doctor --json` on a subject.
base::Json finding(const ToolResult& result, std::string_view subject) {
  const base::Json json = result.json();
  for (const base::Json& row : json.at("findings").as_array()) {
    if (row.at("subject").as_string() == subject) return row;
  }
  ADD_FAILURE() << "no finding on " << subject << " in " << result.out;
  return base::Json::Object{{"state", ""}, {"advice", ""}, {"detail", ""}};
}

TEST_F(Tool, DoctorFindsAllWell) {
  const ToolResult result = run({"doctor", "--json"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(finding(result, "driver").at("state").as_string(), "ok");
  EXPECT_THAT(finding(result, "GPU 0").at("detail").as_string(), HasSubstr("sm_90"));
  EXPECT_THAT(finding(result, "NVRTC").at("detail").as_string(), HasSubstr("13.0"));
  EXPECT_EQ(finding(result, "cache").at("detail").as_string(), (folder.path() / "cache").string());
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "cache")) << "doctor only looks";
}

TEST_F(Tool, DoctorSaysTheSameToPeople) {
  const ToolResult result = run({"doctor"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.out, HasSubstr("NVRTC"));
  EXPECT_THAT(result.out, Not(HasSubstr("\x1b"))) << "no colour into a file";
}

struct Lack {
  const char* name;
  const char* variable;
  std::string value;
  const char* subject;
  const char* state;
  int exit_code;
};

class DoctorMisses : public Tool, public testing::WithParamInterface<Lack> {};

TEST_P(DoctorMisses, AndSaysWhatToDo) {
  variables[GetParam().variable] = GetParam().value;
  const ToolResult result = run({"doctor", "--json"});
  EXPECT_EQ(result.exit_code, GetParam().exit_code) << result.out;
  const base::Json found = finding(result, GetParam().subject);
  EXPECT_EQ(found.at("state").as_string(), GetParam().state);
  EXPECT_NE(found.at("advice").as_string(), "");
}

INSTANTIATE_TEST_SUITE_P(
    Lacks, DoctorMisses,
    testing::Values(Lack{"driver", "KILN_CUDA_PATH", "/no/libcuda.so.1", "driver", "missing", 3},
                    Lack{"old_driver", "KILN_CUDA_PATH", FakeCuda::old_driver_path(), "driver", "missing", 3},
                    Lack{"gpu", "FAKE_CUDA", "devices=0", "driver", "missing", 3},
                    Lack{"new_enough_gpu", "FAKE_CUDA", "capability=75", "GPU 0", "note", 0},
                    Lack{"nvrtc", "KILN_NVRTC_PATH", "/no/libnvrtc.so", "NVRTC", "missing", 3},
                    Lack{"whole_nvrtc", "KILN_NVRTC_PATH", KILN_NVRTC_SHIM_INCOMPLETE, "NVRTC", "missing", 3},
                    Lack{"new_enough_nvrtc", "NVRTC_SHIM_FAIL", "old", "NVRTC", "missing", 3},
                    Lack{"cache_folder", "KILN_CACHE_DIR", "/dev/null/kiln", "cache", "not writable", 6},
                    Lack{"precompiled", "KILN_PRECOMPILED_DIR", "/no/folder", "precompiled", "missing", 3}),
    [](const auto& test) { return test.param.name; });

TEST_F(Tool, WithoutJitNvrtcIsNotMissed) {
  variables["KILN_JIT"] = "off";
  variables["KILN_NVRTC_PATH"] = "/no/libnvrtc.so";
  EXPECT_EQ(run({"doctor"}).exit_code, 0);
}

TEST_F(Tool, RenderShowsOneFileThatIncludesNothing) {
  const ToolResult result = run({"render", "--arch", "80", "--dtype", "f16", "--head-dim", "64", "--causal"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("kCausal = true"));
  EXPECT_THAT(result.out, HasSubstr("kHeadDimQk = 64"));
  EXPECT_THAT(result.out, HasSubstr("extern \"C\""));
  EXPECT_THAT(result.out, Not(HasSubstr("\n#include")));
  EXPECT_EQ(compiles(), 0);
}

TEST_F(Tool, RenderWritesFiles) {
  const auto to = folder.path() / "sources";
  const ToolResult result = run({"render", "--kind", "forward,decode", "--arch", "80,90", "-o", to});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(to), {}), 4);
}

TEST_F(Tool, RenderJsonHoldsTheSource) {
  const base::Json json = run({"render", "--json"}).json();
  ASSERT_EQ(json.as_array().size(), 1U);
  EXPECT_THAT(json.as_array()[0].at("source").as_string(), HasSubstr(json.as_array()[0].at("entry").as_string()));
}

TEST_F(Tool, CompileShowsWhatEachKernelUses) {
  const ToolResult result = run({"compile", "--head-dim", "64,128", "--arch", "80,90", "--json"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const base::Json json = result.json();
  ASSERT_EQ(json.as_array().size(), 4U);
  for (const base::Json& row : json.as_array()) {
    EXPECT_EQ(row.at("registers").as_int(0, 255), 96);
    EXPECT_GT(row.at("smem_bytes").as_int(0, 1 << 20), 0);
    EXPECT_EQ(row.at("kernel_id").as_string().size(), 64U);
  }
  EXPECT_EQ(compiles(), 4);
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "cache")) << "compile keeps nothing";
}

TEST_F(Tool, CompileNeedsNoDriver) {
  variables["KILN_CUDA_PATH"] = "/no/libcuda.so.1";
  const ToolResult result = run({"compile"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("sm_90"));
}

TEST_F(Tool, SpillsAreWrongOnlyWhenStrict) {
  variables["NVRTC_SHIM_SPILL"] = "16";
  EXPECT_EQ(run({"compile"}).exit_code, 0);
  EXPECT_EQ(run({"compile", "--strict"}).exit_code, 1);
  variables.clear();
  EXPECT_EQ(run({"compile", "--strict"}).exit_code, 0);
}

TEST_F(Tool, CompileFailureIsReported) {
  variables["NVRTC_SHIM_FAIL"] = "compile";
  const ToolResult result = run({"compile", "--arch", "80,90", "--json"});
  EXPECT_EQ(result.exit_code, 4);
  ASSERT_EQ(result.json().as_array().size(), 2U);
  EXPECT_NE(result.json().as_array()[1].at("error").as_string(), "");
}

TEST_F(Tool, CompileKeepsSourceCubinAndLog) {
  const auto to = folder.path() / "kept";
  EXPECT_EQ(run({"compile", "-o", to}).exit_code, 0);
  std::vector<std::string> extensions;
  for (const auto& file : std::filesystem::directory_iterator(to)) extensions.push_back(file.path().extension());
  EXPECT_THAT(extensions, testing::UnorderedElementsAre(".cu", ".cubin", ".log"));
}

TEST_F(Tool, CacheIsListedCountedVerifiedAndCleared) {
  const std::string store = folder.path() / "store";
  ASSERT_EQ(run({"precompile", "--arch", "80,90", "-o", store}).exit_code, 0);

  const ToolResult list = run({"cache", "ls", "--folder", store, "--json"});
  EXPECT_EQ(list.exit_code, 0);
  ASSERT_EQ(list.json().as_array().size(), 2U);
  EXPECT_THAT(run({"cache", "ls", "--folder", store}).out, HasSubstr(list.json().as_array()[0].at("name").as_string()));

  const base::Json stat = run({"cache", "stat", "--folder", store, "--json"}).json();
  EXPECT_EQ(stat.at("files").as_int(0, 100), 2);
  EXPECT_EQ(stat.at("targets").at("sm_80").at("files").as_int(0, 100), 1);
  EXPECT_EQ(run({"cache", "verify", "--folder", store}).exit_code, 0);

  // Damage in the middle of one.
  const std::filesystem::path victim = list.json().as_array()[0].at("path").as_string();
  {
    std::fstream file(victim, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(std::filesystem::file_size(victim) / 2));
    file.put('\x5a').put('\xa5');
  }
  const ToolResult verify = run({"cache", "verify", "--folder", store, "--json"});
  EXPECT_EQ(verify.exit_code, 1);
  ASSERT_EQ(verify.json().at("damaged").as_array().size(), 1U);
  EXPECT_EQ(verify.json().at("damaged").as_array()[0].at("path").as_string(), victim.string());
  EXPECT_THAT(run({"cache", "ls", "--folder", store}).out, HasSubstr("damaged"));

  EXPECT_EQ(run({"cache", "clear", "--folder", store}).exit_code, 0);
  EXPECT_EQ(run({"cache", "stat", "--folder", store, "--json"}).json().at("files").as_int(0, 100), 0);
}

TEST_F(Tool, AnAbsentCacheIsEmpty) {
  const ToolResult result = run({"cache", "ls", "--json"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.json().as_array().size(), 0U);
  EXPECT_EQ(run({"cache", "verify"}).exit_code, 0);
}

}  // namespace
}  // namespace kiln::test
