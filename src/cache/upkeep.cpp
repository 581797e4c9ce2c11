#include "cache/layout.hpp"
#include "cache/lock.hpp"
#include "cache/store_state.hpp"

#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

namespace kiln::cache {
namespace {

namespace fs = std::filesystem;

constexpr double kEvictToShare = 0.8;

bool is_shard_name(std::string_view name) {
  return name.size() == kShardDigits && name.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

/// Opened without following a link, so that nothing outside the store is listed or removed.
bool is_plain_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::symlink_status(path, ignored).type() == fs::file_type::directory;
}

std::uint64_t bytes_of(const struct stat& info) { return static_cast<std::uint64_t>(info.st_size); }

/// Whether a dead process left this temporary file, by the clock `present` of the same file system. Its time
/// must be over an hour away, either way; and where locks work nobody may hold it, so that a clock that is set
/// while a file is written does no harm.
bool is_stale(int folder, const fs::path& path, const struct stat& info, FileTime present) {
  const FileTime written = time_of(info.st_mtim);
  if (written > present - kClockSlack && written < present + kClockSlack) return false;
  const base::FileDescriptor file(::openat(folder, path.c_str(), O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!file.valid() || !is_node_local(file.get())) return true;
  const int error = try_lock(file.get(), kWholeTemporary);
  return error != EAGAIN && error != EACCES;
}

/// Unless it was used or replaced since it was looked at.
bool remove_unchanged(const Evictable& file) {
  struct stat info{};
  if (::lstat(file.path.c_str(), &info) != 0) return false;
  if (FileIdentity{info.st_dev, info.st_ino} != file.identity || time_of(info.st_mtim) != file.used) return false;
  return ::unlink(file.path.c_str()) == 0;
}

}  // namespace

void DiskStore::each_file(const std::function<void(const fs::path&)>& each) const {
  if (root_.empty() || !open_folder({kVersionFolder}, Trouble::read, false).valid()) return;
  std::vector<std::string> folders;
  if (const IoError error = list_folder(version_folder(), folders)) complain(Trouble::read, error, root_);
  for (const std::string& name : folders) {
    const fs::path folder = version_folder() / name;
    if (!(is_shard_name(name) || name == kQuarantineFolder) || !is_plain_folder(folder)) continue;
    std::vector<std::string> files;
    if (const IoError error = list_folder(folder, files)) complain(Trouble::read, error, folder);
    for (const std::string& file : files) each(folder / file);
  }
}

std::size_t DiskStore::clear() const {
  if (access_ == Access::read_only) {
    warn_once(Trouble::write, fmt::format("{} is a read-only store: nothing is removed", root_.string()));
    return 0;
  }
  std::size_t removed = 0;
  each_file([&](const fs::path& path) {
    if (path.extension() != kEntrySuffix && path.extension() != kTemporarySuffix) return;
    std::error_code error;
    removed += fs::remove(path, error) ? 1 : 0;
    if (error) warn_once(Trouble::write, describe({error.value(), "remove"}, path));
  });
  return removed;
}

/// After each publication: sweeps the one folder that was written, and takes it for a sample of the store.
void DiskStore::look_after(int shard, const std::string& published) const {
  struct stat info{};
  if (::fstatat(shard, published.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return;  // gone already
  const Usage added{.files = 1, .bytes = bytes_of(info)};
  const FileTime present = time_of(info.st_mtim);
  const fs::path folder = version_folder() / published.substr(0, kShardDigits);
  std::vector<std::string> names;
  Usage usage;
  static_cast<void>(list_folder(folder, names));
  for (const std::string& name : names) {
    if (::fstatat(shard, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(info.st_mode)) continue;
    if (name.ends_with(kTemporarySuffix) && is_stale(shard, name, info, present)) {
      ::unlinkat(shard, name.c_str(), 0);
    } else {
      usage += {.files = 1, .bytes = bytes_of(info)};
    }
  }
  {
    const std::lock_guard lock(shared_->mutex);
    if (!shared_->schedule.due(added, usage, settings_.limits)) return;
  }
  const PruneReport report = prune_to({.limits = settings_.limits}, kEvictToShare, folder / published, {});
  if (report.busy) return;
  const std::lock_guard lock(shared_->mutex);
  shared_->schedule.looked(report.left);
}

PruneReport DiskStore::prune(const PruneRequest& request) const {
  constexpr std::chrono::seconds kPatience{10};
  return prune_to(request, 1, {}, kPatience);
}

PruneReport DiskStore::prune_to(const PruneRequest& request, double share, const fs::path& spared,
                                std::chrono::milliseconds patience) const {
  PruneReport report;
  if (root_.empty() || (access_ == Access::read_only && !request.dry_run)) return report;
  if (!open_folder({kVersionFolder}, Trouble::read, false).valid()) return report;
  fs::path lock_file;
  const base::FileDescriptor lock = request.dry_run ? base::FileDescriptor() : open_lock_file(lock_file);
  if (lock.valid() && lock_within(lock.get(), kEvictionByte, patience) == EAGAIN) return {.busy = true};

  std::vector<Evictable> files;
  const FileTime present = now();
  each_file([&](const fs::path& path) {
    const bool temporary = path.extension() == kTemporarySuffix;
    struct stat info{};
    if ((path.extension() != kEntrySuffix && !temporary) || ::lstat(path.c_str(), &info) != 0) return;
    const Usage file{.files = 1, .bytes = bytes_of(info)};
    if (temporary && is_stale(AT_FDCWD, path, info, present)) {
      if (request.dry_run || ::unlink(path.c_str()) == 0) report.removed += file;
      return;
    }
    report.left += file;
    if (temporary || path == spared || S_ISDIR(info.st_mode)) return;
    files.push_back({.path = path,
                     .bytes = file.bytes,
                     .used = time_of(info.st_mtim),
                     .identity = {info.st_dev, info.st_ino},
                     .damaged = path.parent_path().filename() == kQuarantineFolder});
  });
  for (const Evictable& victim :
       choose_victims(std::move(files), report.left, request.limits, share, present, request.unused_for)) {
    if (!request.dry_run && !remove_unchanged(victim)) continue;
    report.removed += {.files = 1, .bytes = victim.bytes};
    report.left.files -= 1;
    report.left.bytes -= victim.bytes;
  }
  if (report.removed.files > 0 && !request.dry_run) {
    log_.info("removed {} files, {} bytes, from {}; {} files, {} bytes are left", report.removed.files,
              report.removed.bytes, root_.string(), report.left.files, report.left.bytes);
  }
  return report;
}

}  // namespace kiln::cache
