#include "cache/lock.hpp"

#include "base/fail.hpp"
#include "cache/disk_store.hpp"
#include "cache/layout.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <thread>
#include <unistd.h>

namespace kiln::cache {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr const char* kTemporaryFolder = "/tmp";  // not TMPDIR: all of a user's processes must agree

// statfs types of file systems that may span machines, from <linux/magic.h> and the file systems' own sources.
constexpr std::array<std::uint32_t, 14> kNetworkFileSystems = {
    0x00006969,  // NFS
    0x0000517b,  // SMB
    0xff534d42,  // CIFS
    0xfe534d42,  // SMB 2
    0x0bd00bd0,  // Lustre
    0x47504653,  // GPFS
    0x00c36400,  // Ceph
    0x5346414f,  // AFS
    0x19830326,  // BeeGFS
    0xaad7aaea,  // PanFS
    0x01161970,  // GFS2
    0x7461636f,  // OCFS2
    0x01021997,  // 9p
    0x65735546,  // FUSE: anything, e.g. sshfs
};

bool is_local_type(const struct statfs& info) {
  return std::ranges::find(kNetworkFileSystems, static_cast<std::uint32_t>(info.f_type)) == kNetworkFileSystems.end();
}

/// A folder of ours in a place where others write too: theirs is not trusted.
IoError make_private_folder(const std::filesystem::path& folder) {
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) return {errno, "make folder"};
  struct stat info{};
  if (::lstat(folder.c_str(), &info) != 0) return {errno, "stat"};
  if (!S_ISDIR(info.st_mode)) return {ENOTDIR, "use as a folder"};
  if (info.st_uid != ::geteuid() || (info.st_mode & 077U) != 0) return {EPERM, "trust what others may write"};
  return {};
}

/// The byte that stands for a build: 60 bits of its id.
off_t lock_offset(std::string_view build_id) {
  constexpr std::size_t kDigits = 15;
  std::int64_t offset = 0;
  std::from_chars(build_id.data(), build_id.data() + kDigits, offset, 16);
  return static_cast<off_t>(offset);
}

}  // namespace

bool is_node_local(const std::filesystem::path& folder) {
  struct statfs info{};
  return ::statfs(folder.c_str(), &info) != 0 || is_local_type(info);
}

bool is_node_local(int folder) {
  struct statfs info{};
  return ::fstatfs(folder, &info) != 0 || is_local_type(info);
}

int try_lock(int file, off_t offset) {
  struct flock range{};  // l_pid must be 0
  range.l_type = F_WRLCK;
  range.l_whence = SEEK_SET;
  range.l_start = offset;
  range.l_len = 1;
  // Owned by the open file and not by the process, so it works between threads and ends with the last
  // descriptor: also when the process is killed.
  return ::fcntl(file, F_OFD_SETLK, &range) == 0 ? 0 : errno;
}

int lock_within(int file, off_t offset, milliseconds patience, const std::stop_token& stop) {
  constexpr milliseconds kLongestPause{20};
  const Clock::time_point start = Clock::now();
  for (milliseconds pause{1};; pause = std::min(2 * pause, kLongestPause)) {
    const int error = try_lock(file, offset);
    if (error == 0) return 0;
    if (error != EAGAIN && error != EACCES && error != EINTR) return error;
    if (stop.stop_requested()) base::fail(ErrorCode::cancelled, "the wait for another process's build was cancelled");
    const auto waited = std::chrono::duration_cast<milliseconds>(Clock::now() - start);
    if (waited >= patience) return EAGAIN;
    std::this_thread::sleep_for(std::min(pause, patience - waited));
  }
}

IoError place_lock_file(const std::filesystem::path& version_folder, bool node_local,
                        const std::filesystem::path& temporary_folder, std::filesystem::path& lock_file) {
  if (node_local) {
    lock_file = version_folder / kLockFile;
    return {};
  }
  const std::filesystem::path ours = temporary_folder / fmt::format("kiln-{}", ::geteuid());
  const FileIdentity store = identity_of(AT_FDCWD, version_folder);  // the same whatever path led there
  lock_file = ours / fmt::format("{:x}-{:x}.lock", store.device, store.inode);
  return make_private_folder(ours);
}

BuildLock& BuildLock::operator=(BuildLock&& other) noexcept {
  if (this != &other) {
    release();
    file_ = std::move(other.file_);
  }
  return *this;
}

void BuildLock::release() noexcept {
  if (!file_.valid()) return;
  // Closing is not enough where the program forked meanwhile: the child has the descriptor too.
  struct flock everything{};
  everything.l_type = F_UNLCK;
  everything.l_whence = SEEK_SET;
  ::fcntl(file_.get(), F_OFD_SETLK, &everything);
  file_.close();
}

base::FileDescriptor DiskStore::open_lock_file(std::filesystem::path& lock_file) const {
  if (!open_folder({kVersionFolder}, Trouble::lock, true).valid()) return base::FileDescriptor();
  const std::filesystem::path folder = version_folder();
  lock_file = folder;
  IoError error = place_lock_file(folder, is_node_local(folder), kTemporaryFolder, lock_file);
  base::FileDescriptor file;
  if (!error) {
    const int flags = O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC;
    file = base::FileDescriptor(::open(lock_file.c_str(), flags, file_mode(trust_)));
    if (!file.valid()) error = {errno, "open"};
  }
  if (error) complain(Trouble::lock, error, lock_file);
  return file;
}

BuildLock DiskStore::lock(std::string_view build_id, milliseconds patience, const std::stop_token& stop) const {
  if (root_.empty() || access_ == Access::read_only || !is_id(build_id)) return {};
  std::filesystem::path lock_file;
  base::FileDescriptor file = open_lock_file(lock_file);
  if (!file.valid()) return {};
  const int error = lock_within(file.get(), lock_offset(build_id), patience, stop);
  if (error == 0) return BuildLock(std::move(file));
  if (error == EAGAIN) {
    log_.warning("another process has been building {} for over {} ms (lock {}): building it as well",
                 build_id.substr(0, 16), patience.count(), lock_file.string());
  } else {
    complain(Trouble::lock, {error, "lock"}, lock_file);
  }
  return {};
}

}  // namespace kiln::cache
