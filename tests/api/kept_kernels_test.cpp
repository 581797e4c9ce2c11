// Where a kernel comes from: memory, precompiled folders, the disk; and what is done with what must not be used.
#include "api/fake_machine.hpp"
#include "api/packed.hpp"
#include "base/files.hpp"
#include "cache/disk_store.hpp"
#include "support/expect_error.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

namespace kiln {
namespace {

using test::error_of;
using test::FakeContext;
using test::ScopedVariable;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

using KeptKernelsTest = test::FakeMachine;

TEST_F(KeptKernelsTest, CompilesOnceThenServesFromMemoryThenFromDisk) {
  const FakeContext context(fake, 0);
  {
    const Runtime runtime(options());
    EXPECT_EQ(runtime.forward({}).info().origin, Origin::compiled);
    (void)runtime.forward({});
    const auto stats = runtime.stats();
    EXPECT_EQ(stats.compiles, 1U);
    EXPECT_EQ(stats.memory_hits, 1U);
  }
  const Runtime again(options());
  EXPECT_EQ(again.forward({}).info().origin, Origin::disk);
  EXPECT_EQ(again.stats().disk_hits, 1U);
  EXPECT_EQ(compiles(), 1);
  EXPECT_THAT(log_lines(), IsEmpty());
}

TEST_F(KeptKernelsTest, AWarmStartLoadsNoNvrtc) {
  const FakeContext context(fake, 0);
  {
    (void)Runtime(options()).forward({});
  }
  // Were it loaded, asking its version would fail.
  const ScopedVariable broken("NVRTC_SHIM_FAIL", "version");
  const Runtime warm(options());
  EXPECT_EQ(warm.forward({}).info().origin, Origin::disk);
  EXPECT_THAT(error_of(ErrorCode::compile, [&] { (void)warm.forward({.causal = true}); }), HasSubstr("NVRTC"));
}

TEST_F(KeptKernelsTest, WithoutNvrtcAnyCompilersKernelServes) {
  const FakeContext context(fake, 0);
  {
    (void)Runtime(options()).forward({});
  }
  auto gone = options();
  gone.nvrtc_path = folder.path() / "none.so";
  EXPECT_EQ(Runtime(gone).forward({}).info().origin, Origin::disk);
}

TEST_F(KeptKernelsTest, JitOffServesWhatIsKeptAndPrintsTheCommandForTheRest) {
  const FakeContext context(fake, 0);
  {
    (void)Runtime(options()).forward({});
  }
  auto off = options();
  off.jit = false;
  const Runtime runtime(off);
  EXPECT_EQ(runtime.forward({}).info().origin, Origin::disk);
  EXPECT_THAT(
      error_of(
          ErrorCode::missing_kernel,
          [&] { (void)runtime.forward({.dtype = DType::f16, .head_dim_qk = 64, .head_dim_v = 64, .causal = true}); }),
      HasSubstr("kiln precompile --kind forward --dtype f16 --head-dim 64/64 --causal"));
  EXPECT_EQ(compiles(), 1);
}

TEST_F(KeptKernelsTest, APrecompiledFolderComesFirstAndIsNeverWritten) {
  const FakeContext context(fake, 0);
  auto maker = options();
  maker.cache_dir = folder.path() / "shipped";
  {
    (void)Runtime(maker).forward({});
  }
  auto user = options();
  user.precompiled = folder.path() / "shipped";
  user.jit = false;
  const Runtime runtime(user);
  EXPECT_EQ(runtime.forward({}).info().origin, Origin::precompiled);
  EXPECT_EQ(runtime.stats().precompiled_hits, 1U);
  EXPECT_EQ(compiles(), 1);
}

TEST_F(KeptKernelsTest, SeveralPrecompiledFoldersAreSearchedInOrderAndNothingIsCopied) {
  const FakeContext context(fake, 0);
  auto maker = options();
  const auto first = folder.path() / "first";
  const auto second = folder.path() / "second";
  maker.cache_dir = first;
  (void)Runtime(maker).forward({});
  maker.cache_dir = second;
  (void)Runtime(maker).forward({.causal = true});
  auto user = options();
  user.precompiled = (folder.path() / "none").string() + "::" + first.string() + ":" + second.string();
  const Runtime runtime(user);
  EXPECT_EQ(runtime.forward({}).info().origin, Origin::precompiled);
  EXPECT_EQ(runtime.forward({.causal = true}).info().origin, Origin::precompiled);
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "cache"));
  EXPECT_EQ(runtime.forward({.window = Window::sliding}).info().origin, Origin::compiled);
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "cache"));
  EXPECT_EQ(compiles(), 3);
  EXPECT_EQ(log_lines(), std::vector<std::string>{});
}

class PackedKernelsTest : public KeptKernelsTest {
 protected:
  /// A pack of one kernel, and a file that holds it.
  void SetUp() override {
    auto maker = options();
    maker.cache_dir = folder.path() / "made";
    (void)Runtime(maker).forward({});
    pack = test::packed(*maker.cache_dir);
    write(pack);
  }
  void write(std::span<const std::byte> bytes) const {
    base::write_file_atomic(file, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }
  [[nodiscard]] Options without_jit() {
    auto off = options();
    off.jit = false;
    off.nvrtc_path = folder.path() / "none.so";
    return off;
  }

  const FakeContext context{fake, 0};
  const std::filesystem::path file = folder.path() / "kernels.kilnpack";
  std::vector<std::byte> pack;
};

TEST_F(PackedKernelsTest, AFileAmongThePrecompiledFoldersIsAPack) {
  auto user = without_jit();
  user.precompiled = (folder.path() / "none").string() + ":" + file.string();
  const Runtime runtime(user);
  EXPECT_EQ(runtime.forward({}).info().origin, Origin::precompiled);
  EXPECT_EQ(runtime.stats().precompiled_hits, 1U);
  EXPECT_EQ(compiles(), 1);
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "cache")) << "nothing is copied";
  EXPECT_THAT(log_lines(), IsEmpty());
  runtime.forward({}).launch(nullptr, test::forward_args());
  EXPECT_EQ(fake.launch_count(), 1);
}

TEST_F(PackedKernelsTest, APackOfTheProgramServesAfterWhatIsNamed) {
  auto user = without_jit();
  user.packs.emplace_back(pack);
  EXPECT_EQ(Runtime(user).forward({}).info().origin, Origin::precompiled);
  // What is named from outside is looked at first: here it is damaged, which is told, and the program's own serves.
  auto damaged = pack;
  damaged[damaged.size() - 50] ^= std::byte{1};
  write(damaged);
  user.precompiled = file;
  EXPECT_EQ(Runtime(user).forward({}).info().origin, Origin::precompiled);
  EXPECT_THAT(log_lines(), testing::ElementsAre(AllOf(HasSubstr(file.string()), HasSubstr("digest does not match"))));
}

TEST_F(PackedKernelsTest, ADamagedPackIsToldAndItsKernelsAreCompiled) {
  std::filesystem::resize_file(file, 200);
  auto user = options();
  user.precompiled = file;
  EXPECT_EQ(Runtime(user).forward({}).info().origin, Origin::compiled);
  EXPECT_THAT(log_lines(), testing::ElementsAre(AllOf(HasSubstr(file.string()), HasSubstr("200 bytes where"))));
}

TEST_F(PackedKernelsTest, WithJitOffTheErrorSaysWhatThePackHasInstead) {
  auto user = without_jit();
  user.precompiled = file;
  EXPECT_THAT(error_of(ErrorCode::missing_kernel, [&] { (void)Runtime(user).forward({.causal = true}); }),
              AllOf(HasSubstr("kiln precompile"), Not(HasSubstr("another version"))));

  std::string why;
  auto entry = cache::Pack::open(pack, nullptr, why)->at(0);
  entry.kernel_id = std::string(64, 'e');
  write(cache::encode_pack({entry}));
  EXPECT_THAT(error_of(ErrorCode::missing_kernel, [&] { (void)Runtime(user).forward({}); }),
              AllOf(HasSubstr(file.string() + " has a forward_bf16_d128"), HasSubstr("kernel id eeeeeeeeeeeeeeee"),
                    HasSubstr("another version of Kiln")));

  std::filesystem::resize_file(file, 100);
  EXPECT_THAT(error_of(ErrorCode::missing_kernel, [&] { (void)Runtime(user).forward({}); }),
              HasSubstr("A pack is not used: " + file.string() + ": 100 bytes where"));
}

TEST_F(PackedKernelsTest, AKernelForAnotherArchitectureIsNotUsed) {
  std::string why;
  auto entry = cache::Pack::open(pack, nullptr, why)->at(0);
  entry.target = "sm_80";  // under the very id of the one for sm_90
  write(cache::encode_pack({entry}));
  auto user = options();
  user.precompiled = file;
  EXPECT_EQ(Runtime(user).forward({}).info().origin, Origin::compiled);
  EXPECT_THAT(log_lines(), testing::Each(HasSubstr("is for sm_80, not sm_90")));
}

TEST_F(KeptKernelsTest, WithoutAHomeKernelsAreInMemoryOnlyWithOneWarning) {
  const FakeContext context(fake, 0);
  const ScopedVariable no_xdg("XDG_CACHE_HOME", nullptr);
  auto homeless = options();
  homeless.cache_dir.reset();
  for (const char* home : {static_cast<const char*>(nullptr), "/", "", "relative"}) {
    const ScopedVariable variable("HOME", home);
    const std::size_t before = log_lines().size();
    EXPECT_EQ(Runtime(homeless).forward({}).info().origin, Origin::compiled);
    ASSERT_EQ(log_lines().size(), before + 1);
    EXPECT_THAT(log_lines().back(), HasSubstr("neither KILN_CACHE_DIR, XDG_CACHE_HOME nor HOME names a folder"));
  }
}

TEST_F(KeptKernelsTest, AFolderOthersMayWriteIsMemoryOnlyWithOneWarning) {
  const FakeContext context(fake, 0);
  auto open = options();
  std::filesystem::create_directory(*open.cache_dir);
  std::filesystem::permissions(*open.cache_dir, std::filesystem::perms::all);
  const Runtime runtime(open);
  EXPECT_EQ(runtime.forward({}).info().origin, Origin::compiled);
  EXPECT_EQ(runtime.decode({}).info().origin, Origin::compiled);
  EXPECT_TRUE(std::filesystem::is_empty(*open.cache_dir));
  EXPECT_THAT(log_lines(), testing::ElementsAre(AllOf(HasSubstr(open.cache_dir->string()), HasSubstr("everyone"))));
  open.cache_shared = true;
  (void)Runtime(open).forward({});
  EXPECT_FALSE(std::filesystem::is_empty(*open.cache_dir));
}

TEST_F(KeptKernelsTest, ADamagedEntryIsRebuiltWithAWarning) {
  const FakeContext context(fake, 0);
  {
    (void)Runtime(options()).forward({});
  }
  for (const auto& file : std::filesystem::recursive_directory_iterator(folder.path() / "cache")) {
    if (file.path().extension() == ".kiln") std::filesystem::resize_file(file.path(), file.file_size() / 2);
  }
  EXPECT_EQ(Runtime(options()).forward({}).info().origin, Origin::compiled);
  EXPECT_EQ(compiles(), 2);
  EXPECT_FALSE(log_lines().empty());
}

TEST_F(KeptKernelsTest, AnEntryForAnotherArchitectureIsRebuiltWithAWarning) {
  const FakeContext context(fake, 0);
  const std::string kernel_id = Runtime(options()).forward({}).info().kernel_id;
  const cache::DiskStore store(folder.path() / "cache", cache::DiskStore::Access::read_write,
                               base::Logger(LogLevel::off, nullptr));
  auto entry = store.find_kernel(kernel_id);
  ASSERT_TRUE(entry);
  entry->target = "sm_80";  // under the very ids of the one for sm_90
  ASSERT_TRUE(store.publish(*entry));
  EXPECT_EQ(Runtime(options()).forward({}).info().origin, Origin::compiled);
  EXPECT_THAT(log_lines(), testing::Each(AllOf(HasSubstr("is for sm_80, not sm_90"))));
  EXPECT_GE(log_lines().size(), 1U);
  EXPECT_EQ(Runtime(options()).forward({}).info().origin, Origin::disk) << "it was replaced";
}

}  // namespace
}  // namespace kiln
