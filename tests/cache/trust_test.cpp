#include "cache/trust.hpp"

#include "cache/support.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

namespace kiln::cache {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr uid_t kOther = 12345;

class TrustTest : public testing::Test {
 protected:
  [[nodiscard]] DiskStore open(DiskStore::Access access = DiskStore::Access::read_write, bool shared = false) const {
    return {root, access, log.logger(), {.shared = shared}};
  }
  /// A store that refuses its folder: nothing is read, written or locked, told once, and nothing is thrown.
  void expect_refused(const DiskStore& store, const fs::path& named, const char* reason) {
    const bool root_refused = !store.refusal().empty();  // else only a shard, and a lock may be had
    const auto before = files_below(folder.path());
    const Entry other = sample_entry('a', 500);
    EXPECT_EQ(store.find_build(entry.kernel_id, entry.build_id), std::nullopt);
    EXPECT_EQ(store.find_kernel(entry.kernel_id), std::nullopt);
    EXPECT_FALSE(store.publish(other));
    if (root_refused) {
      EXPECT_FALSE(store.lock(entry.build_id, std::chrono::milliseconds(1)).held());
    }
    EXPECT_EQ(files_below(folder.path()), before) << "nothing was moved, made or removed";
    told = log.lines();
    std::erase_if(told, [](const std::string& line) { return line.find("read-only store") != line.npos; });
    EXPECT_THAT(told, ElementsAre(AllOf(HasSubstr(named.string()), HasSubstr(reason), HasSubstr("KILN_CACHE_SHARED"))));
  }
  void expect_used(const DiskStore& store) const {
    EXPECT_EQ(store.find_build(entry.kernel_id, entry.build_id), entry);
    EXPECT_EQ(store.find_kernel(entry.kernel_id), entry);
    EXPECT_EQ(store.refusal(), "");
    EXPECT_THAT(log.lines(), IsEmpty());
  }

  TempFolder folder;
  fs::path root = folder.path() / "kiln";
  LogLines log;
  std::vector<std::string> told;
  const Entry entry = sample_entry();
};

struct Hostile {
  const char* name;
  const char* folder;  ///< below the root
  bool (*make)(const fs::path& folder);
  const char* reason;
  bool even_if_named;  ///< refused also where the folder was named to be read
};

bool add_permission(const fs::path& folder, fs::perms more) {
  fs::permissions(folder, more, fs::perm_options::add);
  return true;
}
bool make_group_writable(const fs::path& folder) { return add_permission(folder, fs::perms::group_write); }
bool make_world_writable(const fs::path& folder) { return add_permission(folder, fs::perms::others_write); }
bool make_sticky(const fs::path& folder) {
  return add_permission(folder, fs::perms::others_write | fs::perms::sticky_bit);
}
bool give_away(const fs::path& folder) { return ::chown(folder.c_str(), kOther, kOther) == 0; }
bool make_link(const fs::path& folder) {
  const fs::path real = folder.string() + ".real";
  fs::rename(folder, real);
  fs::create_directory_symlink(real, folder);
  return true;
}

class HostileFolder : public TrustTest, public testing::WithParamInterface<Hostile> {
 protected:
  void SetUp() override {
    ASSERT_TRUE(open().publish(entry));
    if (!GetParam().make(hostile)) GTEST_SKIP() << "giving a folder away takes root";
  }
  const bool is_root = GetParam().folder[0] == '.';
  const fs::path hostile = is_root ? root : root / GetParam().folder;
};

TEST_P(HostileFolder, IsNeitherReadNorWritten) { expect_refused(open(), hostile, GetParam().reason); }

TEST_P(HostileFolder, IsReadIfNamedUnlessAnyoneMayWriteIt) {
  const DiskStore store = open(DiskStore::Access::read_only);
  if (GetParam().even_if_named) {
    expect_refused(store, hostile, GetParam().reason);
  } else {
    expect_used(store);
  }
}

TEST_P(HostileFolder, IsUsedIfDeclaredSharedButNoLinkIsFollowedBelowTheRoot) {
  const DiskStore store = open(DiskStore::Access::read_write, true);
  if (GetParam().make == make_link && !is_root) {
    expect_refused(store, hostile, GetParam().reason);
  } else {
    expect_used(store);
    EXPECT_TRUE(store.publish(sample_entry('a', 500)));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, HostileFolder,
    testing::Values(Hostile{"RootOfTheGroup", ".", make_group_writable, "is writable by its group", false},
                    Hostile{"VersionOfTheGroup", "v1", make_group_writable, "is writable by its group", false},
                    Hostile{"ShardOfTheGroup", "v1/aa", make_group_writable, "is writable by its group", false},
                    Hostile{"RootOfTheWorld", ".", make_world_writable, "is writable by everyone", true},
                    Hostile{"ShardOfTheWorld", "v1/aa", make_world_writable, "is writable by everyone", true},
                    Hostile{"StickyRoot", ".", make_sticky, "is writable by everyone", true},
                    Hostile{"AnothersRoot", ".", give_away, "belongs to user 12345", true},
                    Hostile{"AnothersVersion", "v1", give_away, "belongs to user 12345", true},
                    Hostile{"AnothersShard", "v1/aa", give_away, "belongs to user 12345", true},
                    Hostile{"LinkedRoot", ".", make_link, "is a symbolic link", false},
                    Hostile{"LinkedVersion", "v1", make_link, "is a symbolic link", true},
                    Hostile{"LinkedShard", "v1/aa", make_link, "is a symbolic link", true}),
    [](const auto& test) { return test.param.name; });

TEST_F(TrustTest, ASlashAtTheEndHidesNoLink) {
  ASSERT_TRUE(open().publish(entry));
  make_link(root);
  for (const char* ending : {"/", "/.", "//./"}) {
    const LogLines lines;
    const DiskStore store(root.string() + ending, DiskStore::Access::read_write, lines.logger());
    EXPECT_EQ(store.find_kernel(entry.kernel_id), std::nullopt) << ending;
    EXPECT_THAT(lines.lines(), ElementsAre(HasSubstr("is a symbolic link"))) << ending;
  }
}

TEST_F(TrustTest, ALinkOnTheWayToTheRootIsTheUsersOwnBusiness) {
  fs::create_directories(folder.path() / "data" / "home");
  fs::create_directory_symlink(folder.path() / "data", folder.path() / "link");
  root = folder.path() / "link" / "home" / "kiln";
  EXPECT_TRUE(open().publish(entry));
  expect_used(open());
}

TEST_F(TrustTest, AnEntryThatOthersWroteIsDamage) {
  const fs::path file = path_in(root, entry);
  for (bool (*make)(const fs::path&) : {give_away, make_world_writable, make_group_writable}) {
    ASSERT_TRUE(open().publish(entry));
    if (!make(file)) continue;  // not root
    EXPECT_EQ(open().find_build(entry.kernel_id, entry.build_id), std::nullopt);
    EXPECT_FALSE(fs::exists(file)) << "moved to quarantine";
  }
  EXPECT_THAT(log.lines(), testing::Each(testing::ContainsRegex("belongs to user 12345|is writable by")));
  EXPECT_GE(log.lines().size(), 2U);
}

TEST_F(TrustTest, RootsFoldersAreTrusted) {
  struct stat info{};
  info.st_mode = S_IFDIR | 0755;
  EXPECT_EQ(distrust(info, Trust::own), "");
  info.st_uid = ::geteuid();
  EXPECT_EQ(distrust(info, Trust::own), "");
}

TEST_F(TrustTest, WhatIsSharedIsMadeAsTheUmaskSays) {
  const mode_t before = ::umask(007);
  EXPECT_TRUE(open(DiskStore::Access::read_write, true).publish(entry));
  ::umask(before);
  struct stat info{};
  ASSERT_EQ(::stat((root / "v1" / "aa").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0770U);
  ASSERT_EQ(::stat(path_in(root, entry).c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0660U);
}

}  // namespace
}  // namespace kiln::cache
