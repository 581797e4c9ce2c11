#include "jit/compiler_search.hpp"
#include "jit/fake_elf.hpp"
#include "jit/fake_loader_cache.hpp"
#include "support/expect_error.hpp"
#include "support/temp_folder.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kiln::jit {
namespace {

using test::fake_library;
using testing::HasSubstr;
namespace fs = std::filesystem;

constexpr const char* k13 = "libnvrtc.so.13";
constexpr const char* k12 = "libnvrtc.so.12";

/// A system folder tree of its own.
class FindCompiler : public testing::Test {
 protected:
  FindCompiler() { places_.root = temp_.path() / "root"; }

  /// A library whose identity is the hex of `mark`.
  fs::path put(const fs::path& folder, const char* soname, std::string_view mark) const {
    return temp_.write(folder / soname, fake_library(mark));
  }
  [[nodiscard]] std::string folder(const char* name) const { return (temp_.path() / name).string(); }
  [[nodiscard]] std::optional<CompilerFile> find() { return search_compiler(places_, &searched_); }
  [[nodiscard]] fs::path found() {
    const auto file = find();
    return file ? file->path : fs::path();
  }

  const test::TempFolder temp_;
  SearchPlaces places_;
  std::string searched_;
};

TEST_F(FindCompiler, NothingThereSaysWhereItLooked) {
  places_.cuda_home = folder("no_such_toolkit");
  places_.home = folder("home");
  EXPECT_FALSE(find());
  EXPECT_THAT(searched_, AllOf(HasSubstr("CUDA_HOME (" + places_.cuda_home), HasSubstr("CUDA_PATH (not set)"),
                               HasSubstr("LD_LIBRARY_PATH (not set)"), HasSubstr("the loader's cache"),
                               HasSubstr("/usr/local/cuda"), HasSubstr(places_.home + "/.local")));
}

// Each place is found when it is the best one left: they are taken away in the documented order.
TEST_F(FindCompiler, PlacesAreTriedInTheDocumentedOrder) {
  places_.cuda_home = folder("home_toolkit");
  places_.cuda_path = folder("path_toolkit");
  places_.library_path = "/nowhere::" + folder("ld_path");
  places_.virtual_env = folder("venv");
  places_.home = folder("home");
  const fs::path in_order[] = {
      put("home_toolkit/lib64", k12, "1"),
      put("path_toolkit/targets/some-linux/lib", k13, "2"),
      put("ld_path", k13, "3"),
      put("root/opt/cuda/lib", k12, "4"),  // through the loader's cache
      put("root/usr/lib/aarch64-linux-gnu", k13, "5"),
      put("root/usr/local/cuda/lib64", k13, "6"),
      put("venv/lib/python3.12/site-packages/nvidia/cu13/lib", k13, "7"),
      put("home/.local/lib/python3.11/site-packages/nvidia/cuda_nvrtc/lib", k12, "8"),
      put("root/usr/local/lib/python3.11/dist-packages/nvidia/cuda_nvrtc/lib", k13, "9"),
      put("root/usr/lib/python3/dist-packages/nvidia/cu13/lib", k13, "a"),
  };
  temp_.write("root/etc/ld.so.cache", test::fake_loader_cache({{k12, "/opt/cuda/lib/libnvrtc.so.12"}}));
  for (const fs::path& expected : in_order) {
    EXPECT_EQ(found(), expected);
    fs::remove(expected);
  }
  EXPECT_FALSE(find());
}

TEST_F(FindCompiler, The13IsPreferredWithinAPlace) {
  places_.cuda_home = folder("toolkit");
  put("toolkit/lib64", k12, "12");
  const fs::path newer = put("toolkit/lib64", k13, "13");
  const auto file = find();
  ASSERT_TRUE(file);
  EXPECT_EQ(file->path, newer);
  EXPECT_EQ(file->identity, "3133");
}

TEST_F(FindCompiler, LibrariesOfOtherMachinesAreSkipped) {
  places_.cuda_home = folder("toolkit");
  temp_.write("toolkit/targets/a-linux/lib/libnvrtc.so.13",
              test::fake_elf(test::note(test::kGnu, "x"), test::kOtherMachine));
  temp_.write("toolkit/lib64/libnvrtc.so.13", "not a library");
  const fs::path ours = put("toolkit/targets/b-linux/lib", k13, "y");
  EXPECT_EQ(found(), ours);
}

TEST_F(FindCompiler, AnExplicitPathIsTheOnlyOneTried) {
  places_.cuda_home = folder("toolkit");
  put("toolkit/lib64", k13, "1");
  const fs::path given = put("mine", "libnvrtc-of-mine.so", "2");
  places_.explicit_path = given;
  EXPECT_EQ(found(), given);
  places_.explicit_path = folder("mine/absent.so");
  EXPECT_FALSE(find());
  EXPECT_EQ(searched_, folder("mine/absent.so"));
}

TEST_F(FindCompiler, AnExplicitFolderOrBareNameWorks) {
  const fs::path in_folder = put("mine", k12, "1");
  places_.explicit_path = folder("mine");
  EXPECT_EQ(found(), in_folder);
  places_.explicit_path = k12;
  EXPECT_FALSE(find());
  places_.library_path = folder("mine");
  EXPECT_EQ(found(), in_folder);
}

TEST_F(FindCompiler, WithoutABuildIdTheFileIsDigested) {
  places_.explicit_path = temp_.write("libnvrtc.so.13", "abc");
  const auto file = find();
  ASSERT_TRUE(file);
  EXPECT_EQ(file->identity, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_F(FindCompiler, IdentityDoesNotDependOnThePlace) {
  places_.explicit_path = put("a", k13, "same");
  const auto first = find();
  places_.explicit_path = put("b", "other_name.so", "same");
  EXPECT_EQ(first->identity, find()->identity);
}

TEST_F(FindCompiler, ADamagedLoaderCacheIsPassedOver) {
  temp_.write("root/etc/ld.so.cache", "glibc-ld.so.cache1.1\xff\xff\xff\xff");
  const fs::path later = put("root/usr/lib", k13, "1");
  EXPECT_EQ(found(), later);
}

TEST(FindCompilerHere, DoesNotLoadAnything) {
  const test::ScopedVariable home("CUDA_HOME", nullptr);
  std::string searched;
  const auto file = find_compiler(KILN_NVRTC_SHIM, &searched);
  ASSERT_TRUE(file);
  EXPECT_EQ(file->path, KILN_NVRTC_SHIM);
  EXPECT_EQ(file->identity.size(), 40U) << "the shim is linked with a SHA-1 build id";
  std::ifstream maps("/proc/self/maps");
  const std::string text(std::istreambuf_iterator<char>(maps), {});
  EXPECT_THAT(text, testing::Not(HasSubstr("libnvrtc")));
}

}  // namespace
}  // namespace kiln::jit
