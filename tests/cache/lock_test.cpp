#include "cache/lock.hpp"

#include "cache/support.hpp"

#include <kiln/error.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace kiln::cache {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class LockTest : public testing::Test {
 protected:
  TempFolder folder;
  LogLines log;
  const DiskStore store{folder.path(), DiskStore::Access::read_write, log.logger()};
  const std::string key = std::string(64, 'a');
  const std::string other_key = std::string(63, 'a') + "b";
};

TEST_F(LockTest, ExcludesThreadsAndEndsWithItsObject) {
  {
    BuildLock lock = store.lock(key, milliseconds(0));
    EXPECT_TRUE(lock.held());
    EXPECT_FALSE(store.lock(key, milliseconds(0)).held());
    BuildLock moved = std::move(lock);
    EXPECT_TRUE(moved.held());
    EXPECT_FALSE(store.lock(key, milliseconds(0)).held());
    moved = BuildLock();
    EXPECT_TRUE(store.lock(key, milliseconds(0)).held());
  }
  EXPECT_TRUE(store.lock(key, milliseconds(0)).held());
}

TEST_F(LockTest, OfOneBuildLeavesOthersFree) {
  std::vector<BuildLock> locks;
  for (int i = 0; i < 200; ++i) {
    const std::string id = base::hash_parts(std::vector<base::HashPart>{{"i", std::to_string(i)}});
    locks.push_back(store.lock(id, milliseconds(0)));
    EXPECT_TRUE(locks.back().held()) << i;
  }
  EXPECT_THAT(log.lines(), IsEmpty());
  EXPECT_EQ(files_below(folder.path()).size(), 1U) << "lock files accumulate";
}

TEST_F(LockTest, GivesUpInTimeAndSaysSo) {
  Worker holder({"hold-lock", folder.path(), key});
  ASSERT_EQ(holder.read_output(), 'h');
  const auto start = steady_clock::now();
  EXPECT_FALSE(store.lock(key, milliseconds(100)).held());
  const auto waited = steady_clock::now() - start;
  EXPECT_GE(waited, milliseconds(100));
  EXPECT_LT(waited, milliseconds(5000));
  EXPECT_THAT(log.lines(), ElementsAre(testing::AllOf(HasSubstr(key.substr(0, 16)), HasSubstr("100 ms"))));
  holder.close_input();
  EXPECT_EQ(holder.wait(), 0);
  EXPECT_TRUE(store.lock(key, milliseconds(0)).held());
}

TEST_F(LockTest, AWaitThatIsCancelledEndsAtOnce) {
  Worker holder({"hold-lock", folder.path(), key});
  ASSERT_EQ(holder.read_output(), 'h');
  std::stop_source stop;
  std::thread canceller([&] {
    std::this_thread::sleep_for(milliseconds(20));
    stop.request_stop();
  });
  const auto start = steady_clock::now();
  try {
    (void)store.lock(key, milliseconds(60000), stop.get_token());
    ADD_FAILURE() << "did not throw";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::cancelled) << error.what();
  }
  EXPECT_LT(steady_clock::now() - start, milliseconds(10000));
  canceller.join();
  EXPECT_THAT(log.lines(), IsEmpty());
}

TEST_F(LockTest, OfADeadHolderIsFree) {
  Worker holder({"hold-lock", folder.path(), key});
  ASSERT_EQ(holder.read_output(), 'h');
  EXPECT_FALSE(store.lock(key, milliseconds(0)).held());
  holder.kill();
  EXPECT_EQ(holder.wait(), -SIGKILL);
  EXPECT_TRUE(store.lock(key, milliseconds(0)).held());
}

TEST_F(LockTest, IsGivenToAWaiterWhenTheHolderDies) {
  Worker holder({"hold-lock", folder.path(), key});
  ASSERT_EQ(holder.read_output(), 'h');
  std::atomic<bool> held{false};
  std::thread waiter([&] { held = store.lock(key, milliseconds::max()).held(); });
  std::this_thread::sleep_for(milliseconds(50));
  EXPECT_FALSE(held);
  holder.kill();
  waiter.join();
  EXPECT_TRUE(held);
  EXPECT_THAT(log.lines(), IsEmpty());
}

TEST_F(LockTest, IsNotKeptByAChildThatInheritedIt) {
  auto lock = std::make_unique<BuildLock>(store.lock(key, milliseconds(0)));
  ASSERT_TRUE(lock->held());
  const pid_t child = ::fork();
  if (child == 0) {
    for (;;) ::pause();
  }
  ASSERT_GT(child, 0);
  lock.reset();
  EXPECT_TRUE(store.lock(key, milliseconds(0)).held());
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
}

TEST_F(LockTest, EightProcessesOnAColdKeyBuildItOnce) {
  const fs::path root = folder.path() / "store";
  const fs::path builds = folder.path() / "builds";
  std::vector<std::unique_ptr<Worker>> workers;
  for (int i = 0; i < 8; ++i) {
    workers.push_back(std::make_unique<Worker>(std::vector<std::string>{"find-or-build", root, builds}));
  }
  for (const auto& worker : workers) worker->close_input();
  for (const auto& worker : workers) EXPECT_EQ(worker->wait(), 0);
  EXPECT_EQ(read_bytes(builds).size(), 1U);
}

TEST_F(LockTest, FileLiesInTheStoreOnALocalDisk) {
  fs::path file;
  EXPECT_FALSE(place_lock_file(folder.path() / "v1", true, "/nowhere", file));
  EXPECT_EQ(file, folder.path() / "v1" / "lock");
  EXPECT_TRUE(is_node_local("/proc"));
}

TEST_F(LockTest, FileLiesOnTheMachineIfTheStoreDoesNot) {
  const fs::path store_folder = folder.path() / "v1";
  const fs::path temporary = folder.path() / "tmp";
  fs::create_directories(store_folder);
  fs::create_directory(temporary);
  fs::create_directory_symlink(store_folder, folder.path() / "alias");
  fs::path file;
  fs::path again;
  EXPECT_FALSE(place_lock_file(store_folder, false, temporary, file));
  EXPECT_FALSE(place_lock_file(folder.path() / "alias" / ".", false, temporary, again));
  EXPECT_EQ(file, again) << "two names of one store";
  const fs::path ours = temporary / ("kiln-" + std::to_string(::geteuid()));
  EXPECT_EQ(file.parent_path(), ours);
  EXPECT_EQ(fs::status(ours).permissions(), fs::perms::owner_all);
  EXPECT_FALSE(place_lock_file(temporary, false, temporary, again));
  EXPECT_NE(file, again) << "two stores";
}

TEST_F(LockTest, FolderOnTheMachineIsNotTrustedIfOthersMayWriteIt) {
  const fs::path ours = folder.path() / ("kiln-" + std::to_string(::geteuid()));
  fs::path file;
  fs::create_directory(ours);
  fs::permissions(ours, fs::perms::all);
  EXPECT_EQ(place_lock_file(folder.path(), false, folder.path(), file).error, EPERM);
  fs::permissions(ours, fs::perms::owner_all);
  EXPECT_EQ(place_lock_file(folder.path(), false, folder.path(), file).error, 0);
  fs::remove(ours);
  fs::create_directory(folder.path() / "elsewhere");
  fs::create_directory_symlink(folder.path() / "elsewhere", ours);
  EXPECT_EQ(place_lock_file(folder.path(), false, folder.path(), file).error, ENOTDIR);
}

}  // namespace
}  // namespace kiln::cache
