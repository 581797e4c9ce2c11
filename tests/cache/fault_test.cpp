#include "cache/file_io.hpp"
#include "cache/kill_suite.hpp"
#include "cache/support.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

namespace kiln::cache {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const char* step_name(PublishStep step) {
  constexpr const char* kNames[] = {"Created", "Written", "Synced", "Renamed", "FolderSynced"};
  return kNames[static_cast<int>(step)];
}

class Fault : public testing::Test {
 protected:
  [[nodiscard]] DiskStore open(const fs::path& root, DiskStore::Access access = DiskStore::Access::read_write) const {
    return {root, access, log.logger()};
  }
  /// Every call on a store that can keep nothing: each is a miss, and publishing fails.
  void expect_keeps_nothing(const DiskStore& store) const {
    for (int round = 0; round < 2; ++round) {
      EXPECT_FALSE(store.publish(entry));
      EXPECT_EQ(store.find_build(entry.kernel_id, entry.build_id), std::nullopt);
      EXPECT_EQ(store.find_kernel(entry.kernel_id), std::nullopt);
      EXPECT_FALSE(store.lock(entry.build_id, milliseconds(1)).held());
      store.scan([](const StoredFile& file) { ADD_FAILURE() << file.path; });
      EXPECT_EQ(store.clear(), 0U);
    }
  }

  TempFolder folder;
  LogLines log;
  const Entry entry = sample_entry();
};

TEST_F(Fault, AnEmptyRootKeepsNothingAndSaysNothing) {
  expect_keeps_nothing(open({}));
  EXPECT_THAT(log.lines(), IsEmpty());
}

TEST_F(Fault, ARootThatIsAFileIsToldOncePerKind) {
  write_bytes(folder.path() / "file", {});
  expect_keeps_nothing(open(folder.path() / "file"));
  EXPECT_THAT(log.lines(),
              testing::UnorderedElementsAre(AllOf(HasSubstr("kernels are not kept"), HasSubstr("Not a directory")),
                                            AllOf(HasSubstr("cannot open"), HasSubstr("Not a directory")),
                                            HasSubstr("processes may build the same kernel")));
}

TEST_F(Fault, ARootBelowAFileIsNotFatal) {
  write_bytes(folder.path() / "file", {});
  expect_keeps_nothing(open(folder.path() / "file" / "kiln"));
  EXPECT_EQ(log.lines().size(), 3U);
}

TEST_F(Fault, IdsThatAreNoIdsReachNoPath) {
  const DiskStore store = open(folder.path());
  Entry bad = entry;
  bad.kernel_id = "../../" + std::string(58, 'a');
  EXPECT_EQ(store.find_build(bad.kernel_id, bad.build_id), std::nullopt);
  EXPECT_EQ(store.find_kernel(bad.kernel_id), std::nullopt);
  EXPECT_EQ(store.find_kernel(""), std::nullopt);
  EXPECT_FALSE(store.lock("", milliseconds(1)).held());
  EXPECT_FALSE(store.publish(bad));
  EXPECT_THAT(log.lines(), ElementsAre(HasSubstr("kernel_id")));
  EXPECT_THAT(files_below(folder.path()), IsEmpty());
}

TEST_F(Fault, AReadOnlyStoreIsReadAndNotWritten) {
  ASSERT_TRUE(open(folder.path()).publish(entry));
  const DiskStore store = open(folder.path(), DiskStore::Access::read_only);
  EXPECT_EQ(store.find_build(entry.kernel_id, entry.build_id), entry);
  EXPECT_EQ(store.find_kernel(entry.kernel_id), entry);
  EXPECT_FALSE(store.lock(entry.build_id, milliseconds(1)).held());
  EXPECT_FALSE(store.publish(sample_entry('b')));
  EXPECT_FALSE(store.publish(sample_entry('b')));
  EXPECT_EQ(files_below(folder.path()).size(), 1U);
  EXPECT_THAT(log.lines(), ElementsAre(HasSubstr("read-only")));
}

TEST_F(Fault, AFolderWithoutWritePermissionIsReadAndNotWritten) {
  const Unprivileged unprivileged(folder.path());
  if (!Unprivileged::works()) GTEST_SKIP() << "root may not become another user here";
  const DiskStore store = open(folder.path());
  ASSERT_TRUE(store.publish(entry));
  for (const char* name : {"v1/aa", "v1"})
    fs::permissions(folder.path() / name, fs::perms::owner_read | fs::perms::owner_exec);
  EXPECT_EQ(store.find_build(entry.kernel_id, entry.build_id), entry);
  EXPECT_FALSE(store.publish(entry));
  EXPECT_FALSE(store.publish(sample_entry('b')));
  EXPECT_FALSE(store.lock(entry.build_id, milliseconds(1)).held());
  EXPECT_EQ(store.clear(), 0U);
  EXPECT_THAT(log.lines(), ElementsAre(AllOf(HasSubstr("kernels are not kept"), HasSubstr("Permission denied")),
                                       HasSubstr("processes may build")));
  for (const char* name : {"v1", "v1/aa"}) fs::permissions(folder.path() / name, fs::perms::owner_all);
}

TEST_F(Fault, AnEntryThatMayNotBeReadIsAMiss) {
  const Unprivileged unprivileged(folder.path());
  if (!Unprivileged::works()) GTEST_SKIP() << "root may not become another user here";
  const DiskStore store = open(folder.path());
  ASSERT_TRUE(store.publish(entry));
  fs::permissions(path_in(folder.path(), entry), fs::perms::none);
  EXPECT_EQ(store.find_build(entry.kernel_id, entry.build_id), std::nullopt);
  EXPECT_EQ(store.find_build(entry.kernel_id, entry.build_id), std::nullopt);
  EXPECT_THAT(log.lines(), ElementsAre(HasSubstr("Permission denied")));
}

TEST_F(Fault, AWriteThatIsCutShortLeavesNothing) {
  for (const char* room : {"0", "1", "4096"}) {
    Worker worker({"publish-without-room", folder.path(), room});
    EXPECT_EQ(worker.wait(), 1) << room;
    EXPECT_THAT(files_below(folder.path()), IsEmpty()) << room;
  }
  Worker worker({"publish-without-room", folder.path(), "1000000"});
  EXPECT_EQ(worker.wait(), 0) << "the worker fails for another reason";
}

TEST_F(Fault, EveryFlippedByteOfAFileIsAMissWithAReason) {
  ASSERT_TRUE(open(folder.path()).publish(entry));
  const fs::path file = path_in(folder.path(), entry);
  const auto good = read_bytes(file);
  const DiskStore store = open(folder.path(), DiskStore::Access::read_only);
  for (std::size_t i = 0; i < good.size(); ++i) {
    auto bad = good;
    bad[i] ^= std::byte{1} << (i % 8);
    write_bytes(file, bad);
    EXPECT_EQ(store.find_build(entry.kernel_id, entry.build_id), std::nullopt) << "byte " << i;
  }
  EXPECT_EQ(log.lines().size(), good.size());
  EXPECT_THAT(log.lines(), testing::Each(AllOf(HasSubstr("damaged cache entry"), HasSubstr(file.string()))));
  write_bytes(file, good);
  EXPECT_EQ(store.find_build(entry.kernel_id, entry.build_id), entry);
}

struct Broken {
  const char* call;
  const char* says;
  bool kept;  ///< the entry is in its place all the same
};

class BrokenPublisher : public Fault, public testing::WithParamInterface<Broken> {};

TEST_P(BrokenPublisher, SaysWhatFailedAndLeavesAllOrNothing) {
  Worker worker({"publish-and-break", folder.path(), GetParam().call});
  std::string said;
  while (const char character = worker.read_output()) said += character;
  EXPECT_EQ(worker.wait(), 1);
  EXPECT_THAT(said, AllOf(HasSubstr(GetParam().says), HasSubstr("kernels are not kept")));
  EXPECT_EQ(files_below(folder.path()).size(), GetParam().kept ? 1U : 0U);
  EXPECT_EQ(open(folder.path()).find_kernel(entry.kernel_id).has_value(), GetParam().kept);
}

INSTANTIATE_TEST_SUITE_P(Calls, BrokenPublisher,
                         testing::Values(Broken{"Write", "cannot write", false}, Broken{"Sync", "cannot sync", false},
                                         Broken{"Close", "cannot close a file in", false},
                                         Broken{"Rename", "cannot rename a file in", false},
                                         Broken{"SyncFolder", "cannot sync", true}),
                         [](const auto& test) { return test.param.call; });

TEST_F(Fault, KilledAtAnyInstantPublishersLeaveWholeEntries) {
  const KillTally tally = kill_at_random(folder.path(), 8);
  EXPECT_EQ(tally.kills, 8);
  EXPECT_EQ(tally.wrong, 0);
  EXPECT_THAT(tally.warnings, IsEmpty());
}

TEST_F(Fault, AFullDiskIsAWarning) {
  if (::mount("kiln", folder.path().c_str(), "tmpfs", 0, "size=64k,mode=0700") != 0) {
    GTEST_SKIP() << "mounting a small file system takes root";
  }
  {
    const DiskStore store = open(folder.path());
    EXPECT_TRUE(store.publish(sample_entry('a', 8'000)));
    EXPECT_FALSE(store.publish(sample_entry('b', 100'000)));
    EXPECT_FALSE(store.publish(sample_entry('b', 100'000)));
    EXPECT_THAT(log.lines(), ElementsAre(HasSubstr("No space left on device")));
    EXPECT_EQ(files_below(folder.path()).size(), 1U);
    EXPECT_TRUE(store.find_build(std::string(64, 'a'), std::string(64, 'a')));
    EXPECT_TRUE(store.publish(sample_entry('b', 8'000))) << "room that a failure took was not given back";
  }
  EXPECT_EQ(::umount2(folder.path().c_str(), MNT_DETACH), 0);
}

TEST_F(Fault, ErrorsOfEachCallAreSeen) {
  const base::FileDescriptor full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  ASSERT_TRUE(full.valid());
  EXPECT_EQ(write_all(full.get(), encode(entry)).error, ENOSPC);
  EXPECT_EQ(write_all(-1, encode(entry)).error, EBADF);
  EXPECT_EQ(sync(-1).error, EBADF);
  FileContent content;
  EXPECT_EQ(read_whole(AT_FDCWD, folder.path() / "none", 10, content).error, ENOENT);
  EXPECT_EQ(make_folders("/proc/kiln/v1").error, ENOENT);
  std::vector<std::string> names;
  EXPECT_EQ(list_folder("/dev/null", names).error, ENOTDIR);
  EXPECT_EQ(describe({ENOSPC, "write"}, "/a/b"), "cannot write /a/b: No space left on device");
}

class KilledPublisher : public Fault, public testing::WithParamInterface<PublishStep> {};

TEST_P(KilledPublisher, LeavesAllOfTheEntryOrNothing) {
  const Entry whole = sample_entry('a', 5000);
  const std::string step = std::to_string(static_cast<int>(GetParam()));
  const DiskStore store = open(folder.path());
  for (int round = 0; round < 2; ++round) {  // the second onto what the first left
    Worker worker({"publish-and-die", folder.path(), step});
    ASSERT_EQ(worker.wait(), -SIGKILL);
    const auto found = store.find_build(whole.kernel_id, whole.build_id);
    EXPECT_EQ(found.has_value(), GetParam() >= PublishStep::renamed);
    if (found) {
      EXPECT_EQ(*found, whole);
    }
    EXPECT_EQ(store.find_kernel(whole.kernel_id), found);
  }
  EXPECT_TRUE(store.publish(whole));
  EXPECT_EQ(store.find_build(whole.kernel_id, whole.build_id), whole);
  EXPECT_EQ(store.clear(), GetParam() >= PublishStep::renamed ? 1U : 3U);
  EXPECT_THAT(files_below(folder.path()), IsEmpty());
  EXPECT_THAT(log.lines(), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(AtStep, KilledPublisher,
                         testing::Values(PublishStep::created, PublishStep::written, PublishStep::synced,
                                         PublishStep::renamed, PublishStep::folder_synced),
                         [](const auto& test) { return step_name(test.param); });

TEST_F(Fault, APublisherKilledInTheMiddleOfAWriteLeavesNoEntry) {
  const DiskStore store = open(folder.path());
  Worker worker({"publish-cut-short", folder.path(), "3000"});
  ASSERT_EQ(worker.wait(), -SIGXFSZ);
  const auto left = files_below(folder.path());
  ASSERT_EQ(left.size(), 1U);
  EXPECT_EQ(fs::file_size(folder.path() / left[0]), 3000U);
  EXPECT_EQ(store.find_kernel(entry.kernel_id), std::nullopt);
  EXPECT_TRUE(store.publish(entry));
  EXPECT_EQ(store.find_kernel(entry.kernel_id), entry);
  EXPECT_THAT(log.lines(), IsEmpty());
}

}  // namespace
}  // namespace kiln::cache
