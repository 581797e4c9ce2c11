#include "cache/eviction.hpp"

#include "cache/support.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <csignal>
#include <fcntl.h>
#include <sys/stat.h>
#include <thread>

namespace kiln::cache {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;

constexpr char kDigits[] = "0123456789abcdef";

/// A file's times, away from now; both far past and future are wrong clocks.
void set_age(const fs::path& path, std::chrono::seconds age) {
  const auto at = std::chrono::duration_cast<std::chrono::seconds>((now() - age).time_since_epoch());
  const timespec times[2] = {{.tv_sec = at.count(), .tv_nsec = 0}, {.tv_sec = at.count(), .tv_nsec = 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, 0), 0) << path;
}

std::chrono::seconds age_of(const fs::path& path) {
  struct stat info{};
  EXPECT_EQ(::stat(path.c_str(), &info), 0) << path;
  return std::chrono::duration_cast<std::chrono::seconds>(now() - time_of(info.st_mtim));
}

// ---- the choice ----

std::vector<std::string> chosen(const std::vector<Evictable>& files, const Limits& limits, double share,
                                std::optional<std::chrono::seconds> unused_for = {}) {
  Usage usage;
  for (const auto& file : files) usage += {.files = 1, .bytes = file.bytes};
  std::vector<std::string> names;
  for (const auto& victim : choose_victims(files, usage, limits, share, FileTime(1'000'000s), unused_for)) {
    names.push_back(victim.path);
  }
  return names;
}

Evictable file(const char* name, std::chrono::seconds used, std::uint64_t bytes = 10, bool damaged = false) {
  return {.path = name, .bytes = bytes, .used = FileTime(used), .damaged = damaged};
}

TEST(Eviction, TakesTheLeastRecentlyUsedDownToTheShare) {
  const std::vector<Evictable> files = {file("c", 300s), file("a", 100s), file("e", 500s), file("b", 200s),
                                        file("d", 400s)};
  EXPECT_THAT(chosen(files, {.max_bytes = 50, .max_files = 5}, 0.8), IsEmpty());
  EXPECT_THAT(chosen(files, {.max_bytes = 0, .max_files = 4}, 0.5), ElementsAre("a", "b", "c"));
  EXPECT_THAT(chosen(files, {.max_bytes = 49, .max_files = 0}, 0.8), ElementsAre("a", "b"));
  EXPECT_THAT(chosen(files, {.max_bytes = 49, .max_files = 5}, 1), ElementsAre("a"));
  EXPECT_THAT(chosen(files, {.max_bytes = 0, .max_files = 0}, 0.8), IsEmpty()) << "no limits";
  EXPECT_THAT(chosen(files, {.max_bytes = 1, .max_files = 0}, 0.8), SizeIs(5));
}

TEST(Eviction, TakesWhatIsUnusedForTooLongWhateverTheLimits) {
  const std::vector<Evictable> files = {file("old", 100s), file("new", 999'990s), file("future", 9'000'000s)};
  EXPECT_THAT(chosen(files, {}, 1, 3600s), ElementsAre("old"));
}

TEST(Eviction, TakesDamagedFilesAndThoseOfAWrongClockFirst) {
  const std::vector<Evictable> files = {file("old", 100s), file("future", 9'000'000s), file("soon", 1'000'060s),
                                        file("bad", 999'000s, 10, true)};
  EXPECT_THAT(chosen(files, {.max_bytes = 0, .max_files = 1}, 1), ElementsAre("bad", "future", "old"))
      << "a time within the slack counts as now";
}

TEST(Eviction, AClockFarBehindTakesNoMoreThanItMust) {
  std::vector<Evictable> files;
  const char* const names[] = {"a", "b", "c", "d", "e"};
  for (int i = 0; i < 5; ++i) files.push_back(file(names[i], std::chrono::seconds(50'000'000 + i)));
  EXPECT_THAT(chosen(files, {.max_bytes = 0, .max_files = 4}, 0.8), ElementsAre("a", "b"))
      << "all lie in the future: still only down to the share, oldest first";
}

TEST(LookSchedule, LooksWhereTheSampleSaysSoAndThenRarely) {
  const Limits limits{.max_bytes = 0, .max_files = 6400};
  LookSchedule schedule;
  EXPECT_FALSE(schedule.due({.files = 1, .bytes = 9}, {.files = 25, .bytes = 225}, limits));
  EXPECT_TRUE(schedule.due({.files = 1, .bytes = 9}, {.files = 26, .bytes = 234}, limits));
  schedule.looked({.files = 6200, .bytes = 0});
  for (int i = 0; i < 99; ++i)
    EXPECT_FALSE(schedule.due({.files = 1, .bytes = 9}, {.files = 40, .bytes = 360}, limits));
  EXPECT_TRUE(schedule.due({.files = 1, .bytes = 9}, {.files = 40, .bytes = 360}, limits)) << "1/64 of the limit";
  schedule.looked({.files = 6400, .bytes = 0});
  EXPECT_TRUE(schedule.due({.files = 1, .bytes = 9}, {.files = 1, .bytes = 9}, limits)) << "known to be over";
}

// ---- the store ----

class EvictionTest : public testing::Test {
 protected:
  [[nodiscard]] DiskStore open(const Limits& limits, DiskStore::Access access = DiskStore::Access::read_write) const {
    return {root, access, log.logger(), {.limits = limits}};
  }
  [[nodiscard]] std::string kept() const {
    std::string digits;
    for (const char digit : std::string_view(kDigits)) {
      if (fs::exists(path_in(root, sample_entry(digit)))) digits += digit;
    }
    return digits;
  }
  /// Entries 0, 1, 2, …: the first used longest ago.
  void fill(int count) const {
    const DiskStore store = open({.max_bytes = 0, .max_files = 0});
    for (int i = 0; i < count; ++i) {
      const Entry entry = sample_entry(kDigits[i]);
      ASSERT_TRUE(store.publish(entry));
      set_age(path_in(root, entry), std::chrono::hours(100 - i));
    }
  }
  [[nodiscard]] bool hit(const DiskStore& store, char digit) const {
    return store.find_build(std::string(64, digit), std::string(64, digit)).has_value();
  }

  TempFolder folder;
  const fs::path root = folder.path() / "kiln";
  LogLines log;
};

TEST_F(EvictionTest, PublishingOverTheFileCapEvictsToFourFifths) {
  fill(10);
  EXPECT_TRUE(open({.max_bytes = 0, .max_files = 10}).publish(sample_entry('f')));
  EXPECT_EQ(kept(), "3456789f") << "8 of 10";
  EXPECT_THAT(log.lines(), IsEmpty());
}

TEST_F(EvictionTest, PublishingOverTheByteCapEvictsToFourFifths) {
  fill(10);
  const std::uint64_t each = encode(sample_entry()).size();
  EXPECT_TRUE(open({.max_bytes = 10 * each, .max_files = 0}).publish(sample_entry('f')));
  EXPECT_EQ(kept(), "3456789f");
}

TEST_F(EvictionTest, AStoreStaysWithinItsCapsHoweverMuchIsPublished) {
  const DiskStore store = open({.max_bytes = 0, .max_files = 12});
  for (int i = 0; i < 40; ++i) {
    Entry entry = sample_entry();
    entry.kernel_id = base::hash_parts(std::vector<base::HashPart>{{"i", std::to_string(i)}});
    ASSERT_TRUE(store.publish(entry));
    EXPECT_LE(files_below(root).size(), 13U) << "the lock file is one";
  }
}

TEST_F(EvictionTest, ACapBelowOneEntryStillKeepsTheLatest) {
  fill(3);
  EXPECT_TRUE(open({.max_bytes = 1, .max_files = 0}).publish(sample_entry('f')));
  EXPECT_EQ(kept(), "f");
}

TEST_F(EvictionTest, AHitIsAUseNotedOnceAnHour) {
  fill(4);
  const DiskStore store = open({.max_bytes = 0, .max_files = 3});
  EXPECT_TRUE(hit(store, '0'));
  EXPECT_LT(age_of(path_in(root, sample_entry('0'))), 60s);
  set_age(path_in(root, sample_entry('0')), 30min);
  EXPECT_TRUE(hit(store, '0'));
  EXPECT_GT(age_of(path_in(root, sample_entry('0'))), 25min) << "noted a second time within the hour";
  EXPECT_TRUE(store.publish(sample_entry('f')));
  EXPECT_EQ(kept(), "0f") << "0 was used since";
}

TEST_F(EvictionTest, AReadOnlyStoreNotesNothing) {
  fill(1);
  EXPECT_TRUE(hit(open({}, DiskStore::Access::read_only), '0'));
  EXPECT_GT(age_of(path_in(root, sample_entry('0'))), 24h);
}

TEST_F(EvictionTest, AUseSetsAWrongClocksTimeRight) {
  fill(5);
  for (const char digit : {'0', '1'}) set_age(path_in(root, sample_entry(digit)), -24h * 365);
  const DiskStore store = open({.max_bytes = 0, .max_files = 5});
  EXPECT_TRUE(hit(store, '0'));
  EXPECT_LT(age_of(path_in(root, sample_entry('0'))), 60s);
  EXPECT_TRUE(store.publish(sample_entry('f')));
  EXPECT_EQ(kept(), "034f") << "1, in the future and unused, is not immortal; 2 is the oldest of the others";
}

TEST_F(EvictionTest, SweepsOnlyTemporariesOfTheDead) {
  fill(1);
  const fs::path shard = root / "v1" / "00";
  const DiskStore store = open({});
  write_bytes(shard / "old.kiln.0001.tmp", {});
  write_bytes(shard / "fresh.kiln.0002.tmp", {});
  write_bytes(shard / "future.kiln.0003.tmp", {});
  write_bytes(root / "v2" / "00" / "old.kiln.0004.tmp", {});
  set_age(shard / "old.kiln.0001.tmp", 2h);
  set_age(shard / "future.kiln.0003.tmp", -2h);
  set_age(root / "v2" / "00" / "old.kiln.0004.tmp", 2h);
  EXPECT_TRUE(store.publish(sample_entry('0')));
  EXPECT_TRUE(fs::exists(shard / "fresh.kiln.0002.tmp"));
  EXPECT_FALSE(fs::exists(shard / "old.kiln.0001.tmp"));
  EXPECT_FALSE(fs::exists(shard / "future.kiln.0003.tmp"));
  EXPECT_TRUE(fs::exists(root / "v2" / "00" / "old.kiln.0004.tmp")) << "another version's";
  EXPECT_THAT(log.lines(), IsEmpty());
}

TEST_F(EvictionTest, LeavesATemporaryThatIsBeingWrittenWhateverTheClockSays) {
  Worker writer({"publish-and-pause", root, ""});
  ASSERT_EQ(writer.read_output(), 'p');
  const auto files = files_below(root);
  ASSERT_THAT(files, SizeIs(1));
  set_age(root / files[0], 48h);  // as if the clock had been set
  const PruneRequest everything{.limits = {.max_bytes = 1, .max_files = 1}};
  EXPECT_EQ(open({}).prune(everything).removed.files, 0U);
  EXPECT_TRUE(fs::exists(root / files[0]));
  writer.kill();
  EXPECT_EQ(writer.wait(), -SIGKILL);
  EXPECT_EQ(open({}).prune(everything).removed.files, 1U) << "its writer is dead";
  EXPECT_FALSE(fs::exists(root / files[0]));
}

TEST_F(EvictionTest, PruneCountsWithoutTouchingOnADryRun) {
  fill(6);
  PruneRequest request{.limits = {.max_bytes = 0, .max_files = 4}, .dry_run = true};
  const PruneReport dry = open({}).prune(request);
  EXPECT_EQ(kept(), "012345");
  EXPECT_FALSE(fs::exists(root / "v1" / "lock"));
  request.dry_run = false;
  const PruneReport real = open({}).prune(request);
  EXPECT_EQ(kept(), "2345");
  EXPECT_EQ(dry.removed, real.removed);
  EXPECT_EQ(dry.left, real.left);
  EXPECT_EQ(real.removed.files, 2U);
  request.unused_for = 97h + 30min;
  EXPECT_EQ(open({}).prune(request).removed.files, 1U);
  EXPECT_EQ(kept(), "345");
}

TEST_F(EvictionTest, OneEvictsAtATime) {
  fill(4);
  Worker holder({"hold-eviction", root, ""});
  ASSERT_EQ(holder.read_output(), 'h');
  const DiskStore store = open({.max_bytes = 0, .max_files = 2});
  EXPECT_TRUE(store.publish(sample_entry('f'))) << "who publishes doesn't wait";
  EXPECT_EQ(kept(), "0123f");
  holder.kill();
  holder.wait();
  EXPECT_TRUE(store.publish(sample_entry('e')));
  EXPECT_LE(kept().size(), 2U) << "a dead evictor's lock is free";
}

TEST_F(EvictionTest, OtherVersionsAndForeignFilesStay) {
  fill(3);
  write_bytes(root / "v2" / "00" / "x.kiln", {});
  write_bytes(root / "v1" / "00" / "notes.txt", {});
  write_bytes(root / "v1" / "quarantine" / "bad.kiln", {});
  EXPECT_EQ(open({}).prune({.limits = {.max_bytes = 1, .max_files = 1}}).removed.files, 4U);
  EXPECT_THAT(files_below(root), UnorderedElementsAre("v1/00/notes.txt", "v1/lock", "v2/00/x.kiln"));
}

TEST_F(EvictionTest, ReadersSeeWholeEntriesOrMissesWhileOthersAreEvicted) {
  std::atomic<bool> done{false};
  std::atomic<int> hits{0};
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&] {
      const DiskStore store = open({});
      while (!done) {
        for (int digit = 0; digit < 8; ++digit) {
          const Entry expected = sample_entry(kDigits[digit], 20'000);
          const auto found = store.find_build(expected.kernel_id, expected.build_id);
          EXPECT_TRUE(!found || *found == expected);
          hits += found ? 1 : 0;
        }
      }
    });
  }
  const DiskStore store = open({.max_bytes = 0, .max_files = 3});
  for (int i = 0; i < 40; ++i) EXPECT_TRUE(store.publish(sample_entry(kDigits[i % 8], 20'000)));
  while (hits == 0) std::this_thread::yield();
  done = true;
  for (auto& reader : readers) reader.join();
  EXPECT_THAT(log.lines(), IsEmpty());
}

}  // namespace
}  // namespace kiln::cache
