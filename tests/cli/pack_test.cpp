// Packs by the tool: made, listed, verified, merged, used.
#include "tool.hpp"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <iterator>

namespace kiln::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class PackCommand : public Tool {
 protected:
  [[nodiscard]] std::string path(const char* name) const { return folder.path() / name; }
  [[nodiscard]] static std::string content(const std::string& file) {
    std::ifstream stream(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
  }
  void damage(const std::string& file) const {
    auto text = content(file);
    text[text.size() - 60] = static_cast<char>(text[text.size() - 60] ^ 1);
    std::ofstream(file, std::ios::binary) << text;
  }
  /// Makes a pack or folder of the kernels of one dtype on two architectures.
  [[nodiscard]] ToolResult make(const std::string& output, const char* dtype = "bf16") const {
    return run({"precompile", "--dtype", dtype, "--arch", "80,90", "-o", output, "--json"});
  }

  const std::string pack = path("kernels.kilnpack");
};

TEST_F(PackCommand, PrecompileMakesOneOfTheCache) {
  const ToolResult first = make(pack);
  EXPECT_EQ(first.exit_code, 0) << first.err;
  EXPECT_EQ(first.json().at("made").as_int(0, 10), 2);
  EXPECT_TRUE(first.json().at("written").as_bool());
  const ToolResult again = make(path("again.kilnpack"));
  EXPECT_EQ(again.json().at("present").as_int(0, 10), 2);
  EXPECT_EQ(compiles(), 2);
  EXPECT_EQ(content(pack), content(path("again.kilnpack")));
  variables["KILN_CACHE_DIR"] = path("another cache");
  EXPECT_EQ(make(path("anew.kilnpack")).json().at("made").as_int(0, 10), 2);
  EXPECT_EQ(content(pack), content(path("anew.kilnpack"))) << "two builds are equal to the byte";
}

TEST_F(PackCommand, ServesAMachineThatMayNotCompile) {
  ASSERT_EQ(make(pack).exit_code, 0);
  std::filesystem::remove_all(path("cache"));
  variables["KILN_JIT"] = "off";
  variables["KILN_NVRTC_PATH"] = "/no/libnvrtc.so";
  variables["KILN_PRECOMPILED"] = pack;
  const ToolResult with = run({"run", "--len-q", "64", "--rows", "8"});
  EXPECT_EQ(with.exit_code, 1) << "the fake GPU computes nothing, so it ran: " << with.err;
  EXPECT_THAT(with.out, HasSubstr("WRONG"));
  EXPECT_EQ(run({"run", "--len-q", "64", "--rows", "8", "--causal"}).exit_code, 3);
}

TEST_F(PackCommand, ListsAndVerifies) {
  ASSERT_EQ(make(pack).exit_code, 0);
  const auto rows = run({"pack", "ls", pack, "--json"}).json();
  ASSERT_EQ(rows.as_array().size(), 2U);
  EXPECT_EQ(rows.as_array()[0].at("path").as_string(), pack);
  EXPECT_THAT(rows.as_array()[0].at("name").as_string(), HasSubstr("forward_bf16_d128"));
  EXPECT_THAT(run({"pack", "ls", pack}).out, AllOf(HasSubstr("sm_80"), HasSubstr("sm_90")));
  const ToolResult good = run({"pack", "verify", pack});
  EXPECT_EQ(good.exit_code, 0);
  EXPECT_THAT(good.out, HasSubstr("2 of 2 kernels are good"));

  const auto other = path("other.kilnpack");
  std::filesystem::copy_file(pack, other);
  damage(other);
  const ToolResult bad = run({"pack", "verify", pack, other});
  EXPECT_EQ(bad.exit_code, 1);
  EXPECT_THAT(bad.out, AllOf(HasSubstr(other), HasSubstr("its digest does not match"), HasSubstr("2 of 3")));
  EXPECT_EQ(run({"pack", "verify", path("none.kilnpack")}).exit_code, 1);
}

TEST_F(PackCommand, MergesPacksAndFolders) {
  ASSERT_EQ(make(pack).exit_code, 0);
  const auto halves = path("folder of f16");
  ASSERT_EQ(make(halves, "f16").exit_code, 0);
  const auto all = path("all.kilnpack");
  const ToolResult merged = run({"pack", "merge", pack, halves, pack, "-o", all, "--json"});
  EXPECT_EQ(merged.exit_code, 0) << merged.err;
  EXPECT_EQ(merged.json().at("kernels").as_int(0, 10), 4);
  EXPECT_EQ(merged.json().at("left_out").as_int(0, 10), 2);
  EXPECT_EQ(run({"pack", "ls", all, "--json"}).json().as_array().size(), 4U);
  const auto turned = path("turned.kilnpack");
  EXPECT_EQ(run({"pack", "merge", halves, pack, "-o", turned}).exit_code, 0);
  EXPECT_EQ(content(all), content(turned));
}

TEST_F(PackCommand, MergingRefusesWhatIsDamagedAndWritesNothing) {
  ASSERT_EQ(make(pack).exit_code, 0);
  const auto kernels = path("folder");
  ASSERT_EQ(make(kernels).exit_code, 0);
  for (const auto& file : std::filesystem::recursive_directory_iterator(kernels)) {
    if (file.path().extension() == ".kiln") damage(file.path());
  }
  damage(pack);
  const auto out = path("out.kilnpack");
  for (const std::string& source : {pack, kernels}) {
    const ToolResult merged = run({"pack", "merge", source, "-o", out});
    EXPECT_EQ(merged.exit_code, 6);
    EXPECT_THAT(merged.err, AllOf(HasSubstr(source), HasSubstr("digest does not match")));
  }
  std::filesystem::create_directory(path("empty"));
  EXPECT_THAT(run({"pack", "merge", path("empty"), "-o", out}).err, HasSubstr("no kernel"));
  EXPECT_THAT(run({"pack", "merge", path("none"), "-o", out}).err, HasSubstr("No such file"));
  EXPECT_FALSE(std::filesystem::exists(out));
}

TEST_F(PackCommand, NamesThatFitNothingAreErrors) {
  const ToolResult name = run({"pack", "merge", folder.path(), "-o", path("kernels.bin")});
  EXPECT_EQ(name.exit_code, 2);
  EXPECT_THAT(name.err, HasSubstr("ends with .kilnpack"));
  const ToolResult folderless = run({"precompile", "-o", path("none/kernels.kilnpack")});
  EXPECT_EQ(folderless.exit_code, 6);
  EXPECT_THAT(folderless.err, HasSubstr("No such file"));
  EXPECT_EQ(compiles(), 0) << "known before anything is compiled";
  ASSERT_EQ(make(pack).exit_code, 0);
  EXPECT_THAT(run({"cache", "ls", "--folder", pack}).err, HasSubstr("kiln pack"));
}

TEST_F(PackCommand, APackIsWrittenWholeOrNotAtAll) {
  ASSERT_EQ(make(pack).exit_code, 0);
  const auto before = content(pack);
  variables["NVRTC_SHIM_FAIL"] = "compile";
  const ToolResult failed = make(pack, "bf16,f16");
  EXPECT_EQ(failed.exit_code, 4);
  EXPECT_FALSE(failed.json().at("written").as_bool());
  EXPECT_EQ(failed.json().at("present").as_int(0, 10), 2);
  EXPECT_THAT(run({"precompile", "--dtype", "bf16,f16", "--arch", "90", "-o", pack}).out,
              AllOf(HasSubstr("1 of 2 kernels in the cache"), HasSubstr(pack + " is not written")));
  EXPECT_EQ(content(pack), before);
}

TEST_F(PackCommand, DoctorSaysWhatAPackHolds) {
  ASSERT_EQ(make(pack).exit_code, 0);
  variables["KILN_PRECOMPILED"] = pack;
  EXPECT_THAT(run({"doctor"}).out, AllOf(HasSubstr(pack + ": 2 kernels"), Not(HasSubstr("missing"))));
  damage(pack);
  const ToolResult bad = run({"doctor"});
  EXPECT_EQ(bad.exit_code, 3);
  EXPECT_THAT(bad.out, AllOf(HasSubstr("digest"), HasSubstr("kiln precompile")));
  EXPECT_EQ(bad.err, "") << "the table says it";
}

}  // namespace
}  // namespace kiln::test
