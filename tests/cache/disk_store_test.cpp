#include "cache/disk_store.hpp"

#include "cache/support.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <sys/stat.h>
#include <thread>

namespace kiln::cache {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class DiskStoreTest : public testing::Test {
 protected:
  [[nodiscard]] DiskStore open(DiskStore::Access access = DiskStore::Access::read_write) const {
    return {root, access, log.logger()};
  }
  [[nodiscard]] static std::optional<Entry> find(const DiskStore& store, const Entry& entry) {
    return store.find_build(entry.kernel_id, entry.build_id);
  }

  TempFolder folder;
  fs::path root = folder.path() / "some" / "kiln";
  LogLines log;
  const Entry entry = sample_entry();
};

TEST_F(DiskStoreTest, FindsWhatWasPublished) {
  const DiskStore store = open();
  EXPECT_EQ(find(store, entry), std::nullopt);
  EXPECT_EQ(store.find_kernel(entry.kernel_id), std::nullopt);
  EXPECT_FALSE(fs::exists(root)) << "a look made a folder";
  EXPECT_TRUE(store.publish(entry));
  EXPECT_EQ(find(store, entry), entry);
  EXPECT_EQ(store.find_kernel(entry.kernel_id), entry);
  EXPECT_EQ(find(open(), entry), entry) << "another store of the same root";
  EXPECT_THAT(log.lines(), IsEmpty());
}

TEST_F(DiskStoreTest, LeavesOneFileWhereTheDocumentSays) {
  EXPECT_TRUE(open().publish(entry));
  EXPECT_TRUE(open().publish(entry)) << "a second time, over the first";
  EXPECT_THAT(files_below(root), ElementsAre(fs::relative(path_in(root, entry), root).string()));
  EXPECT_EQ(read_bytes(path_in(root, entry)), encode(entry));
}

TEST_F(DiskStoreTest, KeepsFoldersAndFilesPrivate) {
  const mode_t before = ::umask(0);
  EXPECT_TRUE(open().publish(entry));
  EXPECT_TRUE(open().lock(entry.build_id, std::chrono::milliseconds(0)).held());
  ::umask(before);
  int seen = 0;
  for (const auto& item : fs::recursive_directory_iterator(folder.path())) {
    const auto expected = item.is_directory() ? fs::perms::owner_all : fs::perms::owner_read | fs::perms::owner_write;
    EXPECT_EQ(item.status().permissions(), expected) << item.path();
    ++seen;
  }
  EXPECT_GE(seen, 5);
}

TEST_F(DiskStoreTest, FindsAKernelWhicheverCompilerBuiltIt) {
  Entry other = entry;
  other.build_id = std::string(64, '0');
  other.compiler = "another";
  EXPECT_TRUE(open().publish(other));
  EXPECT_EQ(find(open(), entry), std::nullopt);
  EXPECT_EQ(open().find_kernel(entry.kernel_id), other);
  EXPECT_TRUE(open().publish(entry));
  EXPECT_EQ(find(open(), entry), entry);
  EXPECT_EQ(find(open(), other), other);
  write_bytes(path_in(root, other), {});
  EXPECT_EQ(open().find_kernel(entry.kernel_id), entry) << "the damaged one is passed over";
  EXPECT_EQ(log.lines().size(), 1U);
}

struct Damage {
  const char* name;
  const char* reason;
  std::function<void(const fs::path& file)> damage;
};
void PrintTo(const Damage& damage, std::ostream* out) { *out << damage.name; }

class DamagedEntry : public DiskStoreTest, public testing::WithParamInterface<Damage> {};

TEST_P(DamagedEntry, IsAMissThatIsSetAsideAndBuiltAgain) {
  const DiskStore store = open();
  ASSERT_TRUE(store.publish(entry));
  const fs::path file = path_in(root, entry);
  GetParam().damage(file);
  EXPECT_EQ(find(store, entry), std::nullopt);
  EXPECT_THAT(log.lines(), ElementsAre(testing::AllOf(HasSubstr(file.string()), HasSubstr(GetParam().reason))));
  EXPECT_FALSE(fs::exists(fs::symlink_status(file)));
  EXPECT_TRUE(fs::exists(fs::symlink_status(root / "v1" / "quarantine" / file.filename())));
  EXPECT_EQ(find(store, entry), std::nullopt);
  EXPECT_EQ(log.lines().size(), 1U) << "told twice";
  EXPECT_TRUE(store.publish(entry));
  EXPECT_EQ(find(store, entry), entry);
}

TEST_P(DamagedEntry, StaysWhereItIsInAReadOnlyStore) {
  ASSERT_TRUE(open().publish(entry));
  const fs::path file = path_in(root, entry);
  GetParam().damage(file);
  EXPECT_EQ(find(open(DiskStore::Access::read_only), entry), std::nullopt);
  EXPECT_THAT(log.lines(), ElementsAre(HasSubstr(GetParam().reason)));
  EXPECT_TRUE(fs::exists(fs::symlink_status(file)));
  EXPECT_FALSE(fs::exists(root / "v1" / "quarantine"));
}

void flip_byte(const fs::path& file) {
  auto bytes = read_bytes(file);
  bytes[bytes.size() / 2] ^= std::byte{4};
  write_bytes(file, bytes);
}
void hold_other_kernel(const fs::path& file) { write_bytes(file, encode(sample_entry('c'))); }
void hold_other_build(const fs::path& file) {
  Entry other = sample_entry();
  other.build_id.back() = '0';  // beyond the digits that the file's name holds
  write_bytes(file, encode(other));
}
void make_sparse_giant(const fs::path& file) { fs::resize_file(file, kMaxEntryBytes + 1); }
void make_symlink(const fs::path& file) {
  fs::rename(file, file.string() + ".real");
  fs::create_symlink(file.string() + ".real", file);
}
void make_pipe(const fs::path& file) {
  fs::remove(file);
  ASSERT_EQ(::mkfifo(file.c_str(), 0600), 0);
}
void make_folder(const fs::path& file) {
  fs::remove(file);
  fs::create_directory(file);
}

/// Not the whole: a sanitizer's program is larger than any entry may be.
std::vector<std::byte> head_of_a_program() {
  constexpr std::size_t kHeadBytes = 64 << 10;
  auto bytes = read_bytes("/proc/self/exe");
  bytes.resize(kHeadBytes);
  return bytes;
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, DamagedEntry,
    testing::Values(Damage{"Empty", "0 bytes are too few", [](const fs::path& file) { write_bytes(file, {}); }},
                    Damage{"Truncated", "bytes where",
                           [](const fs::path& file) { fs::resize_file(file, fs::file_size(file) - 1); }},
                    Damage{"Flipped", "digest does not match", flip_byte},
                    Damage{"Zeroed", "not a kiln cache entry",
                           [](const fs::path& file) { write_bytes(file, std::vector<std::byte>(600)); }},
                    Damage{"Foreign", "not a kiln cache entry",
                           [](const fs::path& file) { write_bytes(file, head_of_a_program()); }},
                    Damage{"OtherKernel", "holds kernel cccc", hold_other_kernel},
                    Damage{"OtherBuild", "holds build aaaa", hold_other_build},
                    Damage{"TooLarge", "at most", make_sparse_giant},
                    Damage{"SymbolicLink", "a symbolic link", make_symlink},
                    Damage{"Pipe", "not a regular file", make_pipe},
                    Damage{"Folder", "not a regular file", make_folder}),
    [](const auto& test) { return test.param.name; });

TEST_F(DiskStoreTest, ScansEveryEntryGoodAndBad) {
  const DiskStore store = open();
  const Entry bad = sample_entry('f');
  EXPECT_TRUE(store.publish(entry));
  EXPECT_TRUE(store.publish(bad));
  flip_byte(path_in(root, bad));
  write_bytes(root / "v1" / "aa" / "unfinished.tmp", {});
  write_bytes(root / "v1" / "quarantine" / "old.kiln", {});
  write_bytes(root / "v2" / "aa" / "x.kiln", {});
  std::vector<StoredFile> files;
  store.scan([&](const StoredFile& file) { files.push_back(file); });
  ASSERT_EQ(files.size(), 2U);
  EXPECT_EQ(files[0].path, path_in(root, entry));
  EXPECT_EQ(files[0].bytes, encode(entry).size());
  Entry without_image = entry;
  without_image.image = {};
  EXPECT_EQ(files[0].entry, without_image);
  EXPECT_EQ(files[0].damage, "");
  EXPECT_EQ(files[1].path, path_in(root, bad));
  EXPECT_FALSE(files[1].entry);
  EXPECT_THAT(files[1].damage, HasSubstr("digest"));
  EXPECT_TRUE(fs::exists(files[1].path)) << "a scan moves nothing";
}

TEST_F(DiskStoreTest, ClearsOnlyItsOwnFiles) {
  const DiskStore store = open();
  EXPECT_EQ(store.clear(), 0U) << "no folder yet";
  EXPECT_TRUE(store.publish(entry));
  EXPECT_TRUE(store.publish(sample_entry('f')));
  write_bytes(root / "v1" / "aa" / "x.kiln.0123.tmp", {});
  write_bytes(root / "v1" / "quarantine" / "old.kiln", {});
  write_bytes(root / "v1" / "aa" / "notes.txt", {});
  write_bytes(root / "v2" / "aa" / "x.kiln", {});
  write_bytes(folder.path() / "outside" / "x.kiln", {});
  fs::create_directory_symlink(folder.path() / "outside", root / "v1" / "bb");
  EXPECT_EQ(open(DiskStore::Access::read_only).clear(), 0U);
  EXPECT_EQ(store.clear(), 4U);
  EXPECT_THAT(files_below(root), ElementsAre("v1/aa/notes.txt", "v1/bb", "v2/aa/x.kiln"));
  EXPECT_TRUE(fs::exists(folder.path() / "outside" / "x.kiln"));
  EXPECT_EQ(find(store, entry), std::nullopt);
}

TEST_F(DiskStoreTest, ReadersNeverSeeHalfAnEntryWhileItIsReplaced) {
  Entry larger = sample_entry('a', 200'000);
  larger.registers = 1;
  const DiskStore store = open();
  ASSERT_TRUE(store.publish(entry));
  std::atomic<bool> done{false};
  std::atomic<int> reads{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      while (!done) {
        const auto found = find(store, entry);
        EXPECT_TRUE(found == entry || found == larger);
        ++reads;
      }
    });
  }
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 20; ++round) EXPECT_TRUE(store.publish((round + i) % 2 == 0 ? larger : entry));
    });
  }
  for (std::size_t i = 3; i < threads.size(); ++i) threads[i].join();
  done = true;
  for (std::size_t i = 0; i < 3; ++i) threads[i].join();
  EXPECT_GT(reads, 0);
  EXPECT_THAT(log.lines(), IsEmpty());
  EXPECT_EQ(files_below(root).size(), 1U) << "a temporary file was left";
}

}  // namespace
}  // namespace kiln::cache
