// What is said and kept when NVRTC is missing or refuses a source.
#include "api/fake_machine.hpp"
#include "support/expect_error.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace kiln {
namespace {

using test::error_of;
using test::FakeContext;
using test::ScopedVariable;
using testing::AllOf;
using testing::HasSubstr;

using FailedCompileTest = test::FakeMachine;

TEST_F(FailedCompileTest, AMissingNvrtcSaysWhatToDo) {
  const FakeContext context(fake, 0);
  auto wrong = options();
  wrong.nvrtc_path = folder.path() / "libnvrtc.so.13";
  const Runtime runtime(wrong);
  EXPECT_THAT(error_of(ErrorCode::compile, [&] { (void)runtime.forward({}); }),
              AllOf(HasSubstr("NVRTC"), HasSubstr("KILN_NVRTC_PATH"), HasSubstr("kiln precompile")));
}

TEST_F(FailedCompileTest, AFailedCompileCarriesLogAndOptionsAndIsTriedAgain) {
  const FakeContext context(fake, 0);
  const Runtime runtime(options());
  {
    const ScopedVariable broken("NVRTC_SHIM_FAIL", "compile");
    EXPECT_THAT(error_of(ErrorCode::compile, [&] { (void)runtime.forward({}); }),
                AllOf(HasSubstr("forward_bf16_d128"), HasSubstr("sm_90"), HasSubstr("error")));
  }
  EXPECT_EQ(runtime.forward({}).info().origin, Origin::compiled);
}

TEST_F(FailedCompileTest, AFailedCompileKeepsAFolderThatItsMessageNames) {
  const FakeContext context(fake, 0);
  const Runtime runtime(options());
  const auto failures = folder.path() / "cache" / "v1" / "failures";
  const ScopedVariable broken("NVRTC_SHIM_FAIL", "compile");
  const auto message = error_of(ErrorCode::compile, [&] { (void)runtime.forward({}); });
  ASSERT_TRUE(std::filesystem::is_directory(failures)) << message;
  const auto kept = std::filesystem::directory_iterator(failures)->path();
  EXPECT_THAT(message, HasSubstr(kept.string()));
  EXPECT_THAT(kept.filename().string(), testing::MatchesRegex("forward_bf16_d128.*-[0-9a-f]{16}"));
  const auto text = [&](const char* name) {
    std::ifstream file(kept / name);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  EXPECT_THAT(text("source.cu"), HasSubstr("extern \"C\""));
  EXPECT_THAT(text("options.txt"), HasSubstr("--gpu-architecture=sm_90"));
  EXPECT_THAT(text("log.txt"), HasSubstr("the shim was told to fail"));
  EXPECT_THAT(text("repro.sh"), testing::MatchesRegex("KILN_NVRTC_PATH='[^\n]*' kiln compile --failed '[^\n]*'\n"));
}

TEST_F(FailedCompileTest, OnlyTheLatestFailuresAreKept) {
  const FakeContext context(fake, 0);
  const Runtime runtime(options());
  const auto failures = folder.path() / "cache" / "v1" / "failures";
  for (int i = 0; i < 20; ++i) std::filesystem::create_directories(failures / fmt::format("old-{}", i) / "inside");
  const ScopedVariable broken("NVRTC_SHIM_FAIL", "compile");
  const auto message = error_of(ErrorCode::compile, [&] { (void)runtime.forward({}); });
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(failures), {}), 16);
  const auto kept = message.substr(message.rfind(' ') + 1);
  EXPECT_TRUE(std::filesystem::exists(kept + "/source.cu")) << kept;
}

TEST_F(FailedCompileTest, WithoutACacheFolderAFailedCompileCarriesItsLog) {
  const FakeContext context(fake, 0);
  const ScopedVariable broken("NVRTC_SHIM_FAIL", "compile");
  auto memory_only = options();
  memory_only.cache_dir = std::filesystem::path();
  EXPECT_THAT(error_of(ErrorCode::compile, [&] { (void)Runtime(memory_only).forward({}); }),
              AllOf(HasSubstr("no cache folder"), HasSubstr("the log:\n"), HasSubstr("told to fail")));
  auto unusable = options();
  unusable.cache_dir = folder.write("file", "");
  EXPECT_THAT(error_of(ErrorCode::compile, [&] { (void)Runtime(unusable).forward({}); }),
              AllOf(HasSubstr("the cache folder can't keep"), HasSubstr("the log:\n")));
}

}  // namespace
}  // namespace kiln
