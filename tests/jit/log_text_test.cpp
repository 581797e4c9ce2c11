#include "jit/log_text.hpp"

#include "jit/compiler.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace kiln::jit {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

// As NVRTC 13.0 words it.
constexpr std::string_view kLog130 = R"(ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'kern' for 'sm_90'
ptxas info    : Function properties for kern
ptxas         .     400 bytes stack frame, 296 bytes spill stores, 304 bytes spill loads
ptxas info    : Used 64 registers, used 1 barriers, 400 bytes cumulative stack size, 4096 bytes smem
ptxas info    : Compile time = 47.299 ms
ptxas info    : Compiling entry function 'kern_helper' for 'sm_90'
ptxas info    : Function properties for kern_helper
ptxas         .     8 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 8 registers, used 0 barriers
ptxas info    : Compile time = 0.893 ms
)";

// As 12.9 words it.
constexpr std::string_view kLog129 = R"(ptxas info    : 0 bytes gmem, 8 bytes cmem[4]
ptxas info    : Compiling entry function 'kern' for 'sm_80'
ptxas info    : Function properties for kern
    16 bytes stack frame, 24 bytes spill stores, 32 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers, 16 bytes cumulative stack size, 49152 bytes smem, 472 bytes cmem[0]
)";

TEST(ParseLog, Reads130) {
  const Resources kern = parse_log(kLog130, "kern");
  EXPECT_EQ(kern.registers, 64);
  EXPECT_EQ(kern.spill_store_bytes, 296);
  EXPECT_EQ(kern.spill_load_bytes, 304);
  EXPECT_EQ(kern.spill_bytes(), 600);
  EXPECT_EQ(kern.stack_bytes, 400);
  EXPECT_EQ(kern.static_smem_bytes, 4096);
  EXPECT_THAT(kern.warnings, IsEmpty());
}

TEST(ParseLog, TellsEntriesApart) {
  const Resources helper = parse_log(kLog130, "kern_helper");
  EXPECT_EQ(helper.registers, 8);
  EXPECT_EQ(helper.spill_bytes(), 16);
  EXPECT_EQ(helper.static_smem_bytes, 0);
  EXPECT_EQ(parse_log(kLog130, "ker").registers, 0);
}

TEST(ParseLog, Reads129) {
  const Resources kern = parse_log(kLog129, "kern");
  EXPECT_EQ(kern.registers, 255);
  EXPECT_EQ(kern.spill_store_bytes, 24);
  EXPECT_EQ(kern.spill_load_bytes, 32);
  EXPECT_EQ(kern.stack_bytes, 16);
  EXPECT_EQ(kern.static_smem_bytes, 49152);
}

TEST(ParseLog, SpillsOfFunctionsThatTheEntryCallsCount) {
  const Resources kern = parse_log(R"(ptxas info    : Compiling entry function 'kern' for 'sm_90'
ptxas info    : Function properties for kern
ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 32 registers, used 0 barriers
ptxas info    : Function properties for _Z5outerv
ptxas         .     16 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
)",
                                   "kern");
  EXPECT_EQ(kern.spill_store_bytes, 8);
  EXPECT_EQ(kern.spill_load_bytes, 12);
  EXPECT_EQ(kern.stack_bytes, 16);
}

TEST(ParseLog, KeepsWarnings) {
  const Resources kern = parse_log(
      "kern.cu(7): warning #177-D: variable \"x\" was declared but never referenced\n"
      "ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized due to "
      "insufficient register resources for the wgmma pipeline in function 'kern'\r\n"
      "ptxas warning : Registers are spilled\n"
      "ptxas info    : Compiling entry function 'warnings' for 'sm_90a'\n",
      "kern");
  EXPECT_THAT(kern.warnings,
              ElementsAre(HasSubstr("#177-D"), testing::EndsWith("in function 'kern'"), HasSubstr("spilled")));
}

TEST(ParseLog, OddTextsGiveNothing) {
  for (const char* log : {"", "\n\n", "Compiling entry function '", "Compiling entry function 'kern",
                          "Compiling entry function 'kern' \n registers\n bytes smem\nUsed x registers",
                          "Compiling entry function 'kern'\nUsed 99999999999999999999 registers"}) {
    EXPECT_EQ(parse_log(log, "kern").registers, 0) << log;
  }
}

TEST(ParseLog, AbsurdSumsDoNotOverflow) {
  std::string log = "Compiling entry function 'kern'\n";
  for (int i = 0; i < 3; ++i) log += "2147483647 bytes spill stores, 2147483647 bytes spill loads\n";
  const Resources kern = parse_log(log, "kern");
  EXPECT_GT(kern.spill_store_bytes, 1'000'000'000);
  EXPECT_GT(kern.spill_bytes(), 2'000'000'000);
}

TEST(FirstErrors, AreTheErrorLinesOfTheLog) {
  const std::string errors = first_errors(R"(kern.cu(1): warning #177-D: variable "error" was declared
kern.cu(2): error: identifier "nope" is undefined
  p[0] = nope;
         ^
kern.cu(3): error #20-D: identifier "nada" is undefined
ptxas error   : Entry function 'kern' uses too much shared data
2 errors detected in the compilation of "kern.cu".
)");
  EXPECT_EQ(errors,
            "\n  kern.cu(2): error: identifier \"nope\" is undefined"
            "\n  kern.cu(3): error #20-D: identifier \"nada\" is undefined"
            "\n  ptxas error   : Entry function 'kern' uses too much shared data");
}

TEST(FirstErrors, ManyAreCountedAndLongOnesCut) {
  std::string log;
  for (int i = 0; i < 100; ++i) log += "k.cu(" + std::to_string(i) + "): error: " + std::string(1000, 'x') + "\n";
  const std::string errors = first_errors(log);
  EXPECT_THAT(errors,
              testing::AllOf(HasSubstr("k.cu(4)"), Not(HasSubstr("k.cu(5)")), testing::EndsWith("and 95 more")));
  EXPECT_LT(errors.size(), 2000U);
}

TEST(FirstErrors, WithoutAnyTheLogsStartIsShown) {
  EXPECT_EQ(first_errors(""), "");
  EXPECT_EQ(first_errors("\nout of luck\n"), "\n  out of luck");
}

}  // namespace
}  // namespace kiln::jit
