#include "support/expect_error.hpp"
#include "support/temp_folder.hpp"

#include <kiln/options.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

namespace kiln {
namespace {

using test::error_of;
using test::ScopedVariable;
using test::TempFolder;
using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;

TEST(OptionsFromJson, ReadsEveryMember) {
  const auto options = Options::from_json(R"({
    "device": 1, "cache_dir": "/c", "precompiled": "/p", "jit": false, "compile_jobs": 3,
    "overlap_launches": false, "nvrtc_path": "/n", "cuda_path": "/l", "tuned_dir": "/t", "template_dir": "/k",
    "dump_dir": "/d", "record_file": "/r", "check_workspaces": true, "log_level": "debug"})");
  EXPECT_EQ(options.device, 1);
  EXPECT_EQ(options.cache_dir, "/c");
  EXPECT_EQ(options.precompiled, "/p");
  EXPECT_FALSE(options.jit);
  EXPECT_EQ(options.compile_jobs, 3);
  EXPECT_FALSE(options.overlap_launches);
  EXPECT_EQ(options.nvrtc_path, "/n");
  EXPECT_EQ(options.cuda_path, "/l");
  EXPECT_EQ(options.tuned_dir, "/t");
  EXPECT_EQ(options.template_dir, "/k");
  EXPECT_EQ(options.dump_dir, "/d");
  EXPECT_EQ(options.record_file, "/r");
  EXPECT_TRUE(options.check_workspaces);
  EXPECT_EQ(options.log_level, LogLevel::debug);
}

TEST(OptionsFromJson, ReadsSizesAndLists) {
  const auto options = Options::from_json(
      R"({"cache_max_bytes": "64k", "cache_max_files": 0, "cache_shared": true, "precompiled": ["/p", "/q"]})");
  EXPECT_EQ(options.cache_max_bytes, 65536U);
  EXPECT_EQ(options.cache_max_files, 0);
  EXPECT_TRUE(options.cache_shared);
  EXPECT_EQ(options.precompiled, "/p:/q");
  EXPECT_EQ(Options::from_json(R"({"cache_max_bytes": 12})").cache_max_bytes, 12U);
}

TEST(OptionsFromJson, KeepsDefaultsOfWhatIsAbsent) {
  const auto options = Options::from_json("{}");
  EXPECT_EQ(options.device, -1);
  EXPECT_TRUE(options.jit);
  EXPECT_FALSE(options.check_workspaces);
  EXPECT_EQ(options.cache_dir, std::nullopt);
  EXPECT_EQ(options.log_level, LogLevel::warning);
}

struct BadJson {
  const char* name;
  const char* text;
  const char* says;
};

class OptionsFromBadJson : public testing::TestWithParam<BadJson> {};

TEST_P(OptionsFromBadJson, NamesThePlace) {
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [] { (void)Options::from_json(GetParam().text, "engine.json"); }),
              AllOf(HasSubstr("engine.json"), HasSubstr(GetParam().says)));
}

INSTANTIATE_TEST_SUITE_P(Cases, OptionsFromBadJson,
                         testing::Values(BadJson{"Syntax", "{\"jit\": }", ""}, BadJson{"NotAnObject", "[1]", ""},
                                         BadJson{"UnknownKey", R"({"cache_dri": "/c"})", "cache_dir"},
                                         BadJson{"WrongType", R"({"jit": "yes"})", "jit"},
                                         BadJson{"OutOfRange", R"({"compile_jobs": -1})", "compile_jobs"},
                                         BadJson{"BadSize", R"({"cache_max_bytes": "2 GB"})", "2 GB"},
                                         BadJson{"NegativeSize", R"({"cache_max_bytes": -1})", "cache_max_bytes"},
                                         BadJson{"ListOfOne", R"({"cache_dir": ["/c"]})", "cache_dir"},
                                         BadJson{"Fraction", R"({"device": 0.5})", "device"},
                                         BadJson{"PathWithNul", R"({"cache_dir": "/c\u0000d"})", "cache_dir"},
                                         BadJson{"UnknownLevel", R"({"log_level": "loud"})", "loud"}),
                         [](const auto& parameter) { return parameter.param.name; });

TEST(OptionsSet, TakesTheTextThatTheVariableTakes) {
  Options options;
  options.set("device", "3");
  options.set("cache_dir", "");
  options.set("jit", "off");
  options.set("log_level", "debug");
  EXPECT_EQ(options.device, 3);
  EXPECT_EQ(options.cache_dir, "");
  EXPECT_FALSE(options.jit);
  EXPECT_EQ(options.log_level, LogLevel::debug);
}

TEST(OptionsSet, NamesWhatIsWrongAndChangesNothing) {
  Options options;
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { options.set("cache_dri", "/c"); }),
              AllOf(HasSubstr("cache_dri"), HasSubstr("did you mean 'cache_dir'?")));
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { options.set("compile_jobs", "\n-1"); }),
              AllOf(HasSubstr("compile_jobs: \"\\x0a-1\""), HasSubstr("from 0 to")));
  EXPECT_EQ(options.compile_jobs, 0);
}

TEST(OptionsFromFile, ReadsItAndNamesOneThatIsMissing) {
  const TempFolder folder;
  const auto path = folder.path() / "kiln.json";
  std::ofstream(path) << R"({"device": 3})";
  EXPECT_EQ(Options::from_file(path).device, 3);
  EXPECT_THAT(error_of(ErrorCode::io, [&] { (void)Options::from_file(folder.path() / "none.json"); }),
              HasSubstr("none.json"));
}

struct Variable {
  const char* name;
  const char* value;
  bool (*took)(const Options&);
};

class OptionsFromEnvironment : public testing::TestWithParam<Variable> {};

TEST_P(OptionsFromEnvironment, TakesTheVariable) {
  const ScopedVariable variable(GetParam().name, GetParam().value);
  EXPECT_TRUE(GetParam().took(Options::from_environment()));
}

INSTANTIATE_TEST_SUITE_P(
    Variables, OptionsFromEnvironment,
    testing::Values(Variable{"KILN_DEVICE", "2", [](const Options& o) { return o.device == 2; }},
                    Variable{"KILN_CACHE_DIR", "/c", [](const Options& o) { return o.cache_dir == "/c"; }},
                    Variable{"KILN_CACHE_DIR", "", [](const Options& o) { return o.cache_dir == ""; }},
                    Variable{"KILN_PRECOMPILED", "/p", [](const Options& o) { return o.precompiled == "/p"; }},
                    Variable{"KILN_CACHE_MAX_BYTES", "3G",
                             [](const Options& o) { return o.cache_max_bytes == std::uint64_t{3} << 30; }},
                    Variable{"KILN_CACHE_MAX_BYTES", "0", [](const Options& o) { return o.cache_max_bytes == 0; }},
                    Variable{"KILN_CACHE_MAX_FILES", "9", [](const Options& o) { return o.cache_max_files == 9; }},
                    Variable{"KILN_CACHE_SHARED", "on", [](const Options& o) { return o.cache_shared; }},
                    Variable{"KILN_JIT", "off", [](const Options& o) { return !o.jit; }},
                    Variable{"KILN_COMPILE_JOBS", "7", [](const Options& o) { return o.compile_jobs == 7; }},
                    Variable{"KILN_OVERLAP_LAUNCHES", "off", [](const Options& o) { return !o.overlap_launches; }},
                    Variable{"KILN_NVRTC_PATH", "/n", [](const Options& o) { return o.nvrtc_path == "/n"; }},
                    Variable{"KILN_CUDA_PATH", "/l", [](const Options& o) { return o.cuda_path == "/l"; }},
                    Variable{"KILN_TUNED_DIR", "/t", [](const Options& o) { return o.tuned_dir == "/t"; }},
                    Variable{"KILN_TEMPLATE_DIR", "/k", [](const Options& o) { return o.template_dir == "/k"; }},
                    Variable{"KILN_DUMP", "/d", [](const Options& o) { return o.dump_dir == "/d"; }},
                    Variable{"KILN_RECORD", "/r", [](const Options& o) { return o.record_file == "/r"; }},
                    Variable{"KILN_CHECK_WORKSPACES", "1", [](const Options& o) { return o.check_workspaces; }},
                    Variable{"KILN_LOG", "off", [](const Options& o) { return o.log_level == LogLevel::off; }}));

TEST(OptionsFromEnvironment, RefusesABadValueByName) {
  for (const auto& [name, value] : {std::pair{"KILN_JIT", "maybe"},
                                    {"KILN_DEVICE", "two"},
                                    {"KILN_DEVICE", "1x"},
                                    {"KILN_COMPILE_JOBS", "-2"},
                                    {"KILN_LOG", "loud"},
                                    {"KILN_CACHE_MAX_BYTES", "2T"},
                                    {"KILN_CACHE_MAX_BYTES", "-1"},
                                    {"KILN_CACHE_MAX_BYTES", "9000000000G"},
                                    {"KILN_CACHE_MAX_FILES", "1k"},
                                    {"KILN_CACHE_SHARED", "all"},
                                    {"KILN_CHECK_WORKSPACES", "yes"},
                                    {"KILN_DEVICE", ""}}) {
    const ScopedVariable variable(name, value);
    EXPECT_THAT(error_of(ErrorCode::invalid_argument, [] { (void)Options::from_environment(); }),
                AllOf(HasSubstr(name), HasSubstr(value)));
  }
}

TEST(OptionsFromEnvironment, WarnsOfAnUnknownNameWithTheNearest) {
  const ScopedVariable variable("KILN_CACHE_DIRR", "/c");
  std::vector<std::string> lines;
  Options options;
  options.log = [&](LogLevel level, std::string_view line) {
    EXPECT_EQ(level, LogLevel::warning);
    lines.emplace_back(line);
  };
  options.apply_environment();
  EXPECT_THAT(lines, Contains(AllOf(HasSubstr("KILN_CACHE_DIRR"), HasSubstr("did you mean KILN_CACHE_DIR?"))));
}

TEST(OptionsFromEnvironment, OverridesWhatWasSet) {
  const ScopedVariable variable("KILN_DEVICE", "5");
  auto options = Options::from_json(R"({"device": 1, "compile_jobs": 2})");
  options.apply_environment();
  EXPECT_EQ(options.device, 5);
  EXPECT_EQ(options.compile_jobs, 2);
}

}  // namespace
}  // namespace kiln
