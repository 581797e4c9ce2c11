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
                    Lack{"precompiled", "KILN_PRECOMPILED", "/no/folder", "precompiled", "missing", 3}),
    [](const auto& test) { return test.param.name; });

TEST_F(Tool, WithoutJitNvrtcIsNotMissed) {
  variables["KILN_JIT"] = "off";
  variables["KILN_NVRTC_PATH"] = "/no/libnvrtc.so";
  EXPECT_EQ(run({"doctor"}).exit_code, 0);
}

TEST_F(Tool, RenderAndCompileKnowMerges) {
  const ToolResult rendered = run({"render", "--kind", "merge", "--dtype", "f32", "--out-dtype", "bf16"});
  EXPECT_EQ(rendered.exit_code, 0) << rendered.err;
  EXPECT_THAT(rendered.out, HasSubstr("out_dtype() { return device::DType::bf16; }"));
  EXPECT_THAT(rendered.out, HasSubstr("kiln_merge("));
  EXPECT_THAT(rendered.out, Not(HasSubstr("kCausal")));
  const ToolResult compiled = run({"compile", "--kind", "merge", "--head-dim", "64,128"});
  EXPECT_EQ(compiled.exit_code, 0) << compiled.err;
  EXPECT_THAT(compiled.out, HasSubstr("merge_bf16_d64_"));
  EXPECT_EQ(compiles(), 2);
  const ToolResult tuned = run({"tune", "--kind", "merge"});
  EXPECT_EQ(tuned.exit_code, 2) << tuned.err;
  EXPECT_THAT(tuned.err, HasSubstr("a merge has one tiling"));
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

TEST_F(Tool, CacheExplainSaysInWhatKeysDiffer) {
  const std::string store = folder.path() / "store";
  ASSERT_EQ(run({"precompile", "--arch", "80,90", "--dtype", "bf16,f16", "-o", store}).exit_code, 0);
  const base::Json list = run({"cache", "ls", "--folder", store, "--json"}).json();
  const auto row = [&](const char* dtype, const char* target) -> const base::Json& {
    for (const base::Json& each : list.as_array()) {
      const std::string& name = each.at("name").as_string();
      if (name.starts_with(std::string("forward_") + dtype) && name.ends_with(target)) return each;
    }
    throw std::runtime_error(dtype);
  };
  const auto id = [&](const char* dtype, const char* target) { return row(dtype, target).at("kernel_id").as_string(); };
  const auto parts_of = [&](const std::string& a, const std::string& b) {
    const ToolResult result = run({"cache", "explain", a, b, "--folder", store, "--json"});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    const base::Json json = result.json();
    std::vector<std::string> parts;
    for (const auto& each : json.at("differences").as_array()) parts.push_back(each.at("part").as_string());
    return parts;
  };
  const std::string bf16 = id("bf16", "sm90");
  EXPECT_THAT(parts_of(bf16.substr(0, 12), id("f16", "sm90")), testing::ElementsAre("dtype"));
  EXPECT_THAT(parts_of(bf16, id("bf16", "sm80")), testing::IsSupersetOf({"target", "kCapability"}));
  EXPECT_THAT(parts_of(bf16, row("bf16", "sm90").at("path").as_string()), testing::IsEmpty());
  EXPECT_THAT(run({"cache", "explain", bf16, bf16, "--folder", store}).out, HasSubstr("the same kernel"));
  const ToolResult ambiguous = run({"cache", "explain", "", bf16, "--folder", store});
  EXPECT_EQ(ambiguous.exit_code, 2);
  EXPECT_EQ(run({"cache", "explain", folder.write("x.kiln", "no entry"), bf16, "--folder", store}).exit_code, 2);
}

TEST_F(Tool, CachePruneKeepsToItsLimits) {
  const std::string store = folder.path() / "store";
  ASSERT_EQ(run({"precompile", "--arch", "80,86,90", "-o", store}).exit_code, 0);
  const auto files = [&] {
    return run({"cache", "stat", "--folder", store, "--json"}).json().at("files").as_int(0, 9);
  };
  const std::vector<std::string> to_two = {"cache", "prune", "--folder", store, "--max-files", "2", "--json"};
  auto dry = to_two;
  dry.emplace_back("--dry-run");
  EXPECT_EQ(run(dry).json().at("removed").at("files").as_int(0, 9), 1);
  EXPECT_EQ(files(), 3);
  const base::Json pruned = run(to_two).json();
  EXPECT_EQ(pruned.at("removed").at("files").as_int(0, 9), 1);
  EXPECT_EQ(pruned.at("left").at("files").as_int(0, 9), 2);
  EXPECT_EQ(files(), 2);
  EXPECT_THAT(run({"cache", "prune", "--folder", store, "--older-than", "1h"}).out, HasSubstr("0 files"));
  EXPECT_EQ(run({"cache", "prune", "--folder", store, "--max-bytes", "10K"}).exit_code, 0);
  EXPECT_EQ(files(), 1);
  variables["KILN_CACHE_MAX_FILES"] = "7";
  EXPECT_EQ(run({"cache", "stat", "--folder", store, "--json"}).json().at("max_files").as_int(0, 9), 7);
  EXPECT_THAT(run({"cache", "stat", "--folder", store}).out, HasSubstr("at most 7 files and 2.1 GB"));
}

TEST_F(Tool, ACacheFolderThatOthersMayWriteIsRefusedByName) {
  std::filesystem::create_directory(folder.path() / "cache");
  std::filesystem::permissions(folder.path() / "cache", std::filesystem::perms::all);
  const ToolResult result = run({"cache", "ls"});
  EXPECT_EQ(result.exit_code, 6);
  EXPECT_THAT(result.err, HasSubstr((folder.path() / "cache").string() + " is writable by everyone"));
  const base::Json found = finding(run({"doctor", "--json"}), "cache");
  EXPECT_EQ(found.at("state").as_string(), "not writable");
  EXPECT_THAT(found.at("advice").as_string(), HasSubstr("KILN_CACHE_SHARED"));
}

TEST_F(Tool, TheCommandKeptWithAFailureFailsAlike) {
  variables["NVRTC_SHIM_FAIL"] = "compile";
  ASSERT_NE(run({"run", "--len-q", "64", "--rows", "8"}).exit_code, 0);
  const auto kept = std::filesystem::directory_iterator(folder.path() / "cache" / "v1" / "failures")->path();
  std::ifstream file(kept / "repro.sh");
  const std::string line(std::istreambuf_iterator<char>(file), {});
  EXPECT_THAT(line, HasSubstr("kiln compile --failed '" + kept.string() + "'"));
  const ToolResult again = run({"compile", "--failed", kept});
  EXPECT_EQ(again.exit_code, 4);
  EXPECT_THAT(again.err, HasSubstr("the shim was told to fail"));
  variables.erase("NVRTC_SHIM_FAIL");
  const ToolResult mended = run({"compile", "--failed", kept});
  EXPECT_EQ(mended.exit_code, 0) << mended.err;
  EXPECT_THAT(mended.out, HasSubstr(kept.filename().string() + " compiles with"));
}

TEST_F(Tool, AnAbsentCacheIsEmpty) {
  const ToolResult result = run({"cache", "ls", "--json"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.json().as_array().size(), 0U);
  EXPECT_EQ(run({"cache", "verify"}).exit_code, 0);
}

}  // namespace
}  // namespace kiln::test
