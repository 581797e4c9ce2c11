#include "jit/elf_file.hpp"

#include "base/dynamic_library.hpp"
#include "jit/fake_elf.hpp"
#include "support/temp_folder.hpp"

#include <gtest/gtest.h>

#include <random>
#include <sys/stat.h>

namespace kiln::jit {
namespace {

using test::fake_elf;
using test::kGnu;
using test::note;

class ElfFileTest : public testing::Test {
 protected:
  [[nodiscard]] std::optional<ElfFile> read(std::string_view content) const {
    return read_elf(temp_.write("file", content));
  }
  const test::TempFolder temp_;
};

TEST_F(ElfFileTest, BuildIdIsFoundAmongOtherNotes) {
  const auto elf = read(fake_elf(note(kGnu, "xx", NT_GNU_ABI_TAG) + note("Go", "no build id of ours") +
                                 note(kGnu, "\x01\xab\xff") + note(kGnu, "\x02")));
  ASSERT_TRUE(elf);
  EXPECT_TRUE(elf->for_this_machine);
  EXPECT_EQ(elf->build_id, "01abff");
}

TEST_F(ElfFileTest, OtherWordSizeAndMachineAreReadButNotForUs) {
  const auto narrow = read(fake_elf<Elf32_Ehdr, Elf32_Phdr>(note(kGnu, "\x12"), EM_386));
  ASSERT_TRUE(narrow);
  EXPECT_EQ(narrow->build_id, "12");
  EXPECT_FALSE(narrow->for_this_machine);
  const auto foreign = read(fake_elf(note(kGnu, "\x12"), test::kOtherMachine));
  ASSERT_TRUE(foreign);
  EXPECT_FALSE(foreign->for_this_machine);
  std::string swapped = fake_elf(note(kGnu, "\x12"));
  swapped[EI_DATA] = ELFDATA2MSB;
  ASSERT_TRUE(read(swapped));
  EXPECT_FALSE(read(swapped)->for_this_machine);
}

TEST_F(ElfFileTest, WithoutABuildIdThereIsNone) {
  EXPECT_EQ(read(fake_elf(""))->build_id, "");
  EXPECT_EQ(read(fake_elf(note(kGnu, "")))->build_id, "");
  EXPECT_EQ(read(fake_elf(note(kGnu, std::string(65, 'x'))))->build_id, "");
  EXPECT_EQ(read(fake_elf(note("GNX", "\x12")))->build_id, "");
}

TEST_F(ElfFileTest, WhatIsNoElfIsEmpty) {
  EXPECT_FALSE(read(""));
  EXPECT_FALSE(
      read("\x7f"
           "EL"));
  EXPECT_FALSE(read("/* GNU ld script */ GROUP ( /lib/libnvrtc.so.13 )"));
  EXPECT_FALSE(read_elf(temp_.path() / "absent"));
  EXPECT_FALSE(read_elf(temp_.path()));
  const auto pipe = temp_.path() / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_FALSE(read_elf(pipe));
}

TEST_F(ElfFileTest, TruncatedAnywhereItKeepsItsHead) {
  const std::string whole = fake_elf(note(kGnu, "xx", NT_GNU_ABI_TAG) + note(kGnu, "0123456789abcdef0123"));
  ASSERT_EQ(read(whole)->build_id.size(), 40U);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const auto elf = read(whole.substr(0, size));
    EXPECT_TRUE(!elf || elf->build_id.empty()) << size;
  }
}

TEST_F(ElfFileTest, AbsurdHeadersAreHarmless) {
  const std::string whole = fake_elf(note(kGnu, "0123456789abcdef0123"));
  std::mt19937 random(11);
  for (int round = 0; round < 3000; ++round) {
    std::string text = whole;
    for (int i = 0; i < 3; ++i) text[EI_NIDENT + random() % (text.size() - EI_NIDENT)] = static_cast<char>(random());
    const auto elf = read(text);
    EXPECT_TRUE(!elf || elf->build_id.size() <= 128) << round;
  }
  std::string far = whole;  // a program header table at the end of the address space
  far.replace(offsetof(Elf64_Ehdr, e_phoff), 8, "\xf0\xff\xff\xff\xff\xff\xff\xff");
  EXPECT_EQ(read(far)->build_id, "");
}

TEST_F(ElfFileTest, AgreesWithTheLoaderOnARealLibrary) {
  std::string why;
  const auto library = base::DynamicLibrary::open("libc.so.6", why);
  ASSERT_TRUE(library) << why;
  const auto elf = read_elf(library->path());
  ASSERT_TRUE(elf);
  EXPECT_TRUE(elf->for_this_machine);
}

}  // namespace
}  // namespace kiln::jit
