#include "cache/pack_store.hpp"

#include "cache/support.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/stat.h>
#include <thread>
#include <unistd.h>

namespace kiln::cache {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class PackStoreTest : public testing::Test {
 protected:
  PackStoreTest() {
    entry.compile_ms = 0;
    write_bytes(file, encode_pack({entry}));
    fs::permissions(file,
                    fs::perms::owner_read | fs::perms::owner_write | fs::perms::group_read | fs::perms::others_read);
  }
  [[nodiscard]] PackStore store(Trust trust = Trust::named) const { return {file, trust, log.logger()}; }

  /// Holds nothing, is told once, and throws nothing.
  void expect_refused(const PackStore& store, const std::string& reason) const {
    for (int i = 0; i < 3; ++i) EXPECT_EQ(store.find_kernel(entry.kernel_id), std::nullopt);
    EXPECT_EQ(store.pack(), nullptr);
    EXPECT_THAT(store.refusal(), HasSubstr(reason));
    EXPECT_THAT(log.lines(), ElementsAre(AllOf(HasSubstr(reason), HasSubstr("no kernel of this pack is used"))));
  }
  void expect_used(const PackStore& store) const {
    EXPECT_EQ(store.find_kernel(entry.kernel_id), entry);
    EXPECT_EQ(store.find_kernel(std::string(64, '0')), std::nullopt);
    EXPECT_EQ(store.refusal(), "");
    EXPECT_THAT(log.lines(), IsEmpty());
  }

  TempFolder folder;
  fs::path file = folder.path() / "kernels.kilnpack";
  LogLines log;
  Entry entry = sample_entry();
};

TEST_F(PackStoreTest, FindsWhatTheFileHolds) { expect_used(store()); }

TEST_F(PackStoreTest, IsOpenedAtTheFirstLookAndThenKept) {
  const PackStore early = store();
  fs::remove(file);
  write_bytes(file, encode_pack({sample_entry('b')}));
  EXPECT_EQ(early.find_kernel(entry.kernel_id), std::nullopt);
  const auto other = early.find_kernel(std::string(64, 'b'));
  ASSERT_TRUE(other);
  fs::remove(file);  // a file is replaced by another of its name, never written into
  EXPECT_EQ(early.find_kernel(std::string(64, 'b')), other);
  EXPECT_EQ(other->image, sample_entry('b').image);
}

TEST_F(PackStoreTest, AMissingFileIsPassedOver) {
  fs::remove(file);
  EXPECT_EQ(store().find_kernel(entry.kernel_id), std::nullopt);
  EXPECT_THAT(store().refusal(), HasSubstr("No such file"));
  EXPECT_THAT(log.lines(), IsEmpty());
}

TEST_F(PackStoreTest, ADamagedFileIsOneWarningAndHoldsNothing) {
  auto bytes = read_bytes(file);
  bytes[bytes.size() - 100] ^= std::byte{1};
  write_bytes(file, bytes);
  expect_refused(store(), "kernel 0 is damaged: its digest does not match");
}

TEST_F(PackStoreTest, AShortFileIsRefused) {
  fs::resize_file(file, 100);
  expect_refused(store(), "100 bytes where");
}

TEST_F(PackStoreTest, AnEmptyFileIsRefused) {
  fs::resize_file(file, 0);
  expect_refused(store(), "0 bytes are too few");
}

TEST_F(PackStoreTest, AFileThatEveryoneMayWriteIsRefusedUnlessShared) {
  fs::permissions(file, fs::perms::others_write, fs::perm_options::add);
  expect_refused(store(), "is writable by everyone");
  EXPECT_EQ(store(Trust::shared).find_kernel(entry.kernel_id), entry);
}

TEST_F(PackStoreTest, AFileOfAnotherUserIsRefused) {
  constexpr uid_t kOther = 12345;
  if (::chown(file.c_str(), kOther, kOther) != 0) GTEST_SKIP() << "not allowed to give files away";
  expect_refused(store(), "belongs to user 12345");
}

TEST_F(PackStoreTest, ALinkThatWasNamedIsFollowed) {
  const fs::path real = folder.path() / "real";
  fs::rename(file, real);
  fs::create_symlink(real, file);
  expect_used(store());
}

TEST_F(PackStoreTest, APipeIsRefusedAtOnce) {
  fs::remove(file);
  ASSERT_EQ(::mkfifo(file.c_str(), 0600), 0);
  expect_refused(store(), "is not a regular file");
}

TEST_F(PackStoreTest, AFolderIsRefused) {
  fs::remove(file);
  fs::create_directory(file);
  expect_refused(store(), "is not a regular file");
}

TEST_F(PackStoreTest, AnUnreadableFileIsRefused) {
  fs::permissions(file, fs::perms::none);
  const Unprivileged unprivileged(folder.path());
  if (!Unprivileged::works()) GTEST_SKIP() << "root may not become another user here";
  expect_refused(store(), "Permission denied");
}

TEST_F(PackStoreTest, BytesOfTheProgramServe) {
  const auto bytes = encode_pack({entry});
  const PackStore built_in(bytes, log.logger());
  expect_used(built_in);
  const auto found = built_in.find_kernel(entry.kernel_id);
  EXPECT_TRUE(found->image.data() > bytes.data() && found->image.data() < bytes.data() + bytes.size()) << "not copied";
}

TEST_F(PackStoreTest, BytesThatAreNoPackAreOneWarning) {
  const std::vector<std::byte> bytes(1000);
  expect_refused(PackStore(bytes, log.logger()), "a pack built into the program: not a pack of kernels");
}

TEST_F(PackStoreTest, ManyThreadsOpenItOnce) {
  fs::resize_file(file, 100);
  const PackStore shared = store();
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 8; ++t) {
      threads.emplace_back([copy = shared, this] { EXPECT_EQ(copy.find_kernel(entry.kernel_id), std::nullopt); });
    }
  }
  EXPECT_EQ(log.lines().size(), 1U);
}

}  // namespace
}  // namespace kiln::cache
