#include "cache/disk_store.hpp"

#include "base/fail.hpp"
#include "cache/layout.hpp"
#include "cache/store_state.hpp"

#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <sys/stat.h>
#include <system_error>

namespace kiln::cache {
namespace {

namespace fs = std::filesystem;

std::string file_name(std::string_view kernel_id, std::string_view build_id) {
  return fmt::format("{}-{}{}", kernel_id, build_id.substr(0, kBuildDigits), kEntrySuffix);
}

}  // namespace

/// What became of reading one file: an entry, damage, an error, or nothing of these: no such file.
struct DiskStore::Loaded {
  std::optional<Entry> entry;
  std::string damage;
  IoError error;
  FileIdentity identity;
  FileTime used{};
};

DiskStore::DiskStore(fs::path root, Access access, base::Logger log, StoreSettings settings)
    : root_(std::move(root)),
      access_(access),
      trust_(settings.shared               ? Trust::shared
             : access == Access::read_only ? Trust::named
                                           : Trust::own),
      settings_(settings),
      log_(std::move(log)),
      shared_(std::make_shared<Shared>()) {
  std::error_code error;
  if (root_.empty()) return;
  const fs::path absolute = fs::absolute(root_, error);  // the program may change its folder later
  if (!error) root_ = absolute;
}

fs::path DiskStore::version_folder() const { return root_ / kVersionFolder; }

void DiskStore::warn_once(Trouble kind, std::string_view message) const {
  const auto bit = static_cast<unsigned>(kind);
  const bool told = (shared_->told.fetch_or(bit) & bit) != 0;
  log_.write(told ? LogLevel::debug : LogLevel::warning, message);
}

void DiskStore::complain(Trouble kind, const IoError& error, const fs::path& path) const {
  const std::string_view consequence = kind == Trouble::write  ? ": kernels are not kept"
                                       : kind == Trouble::lock ? ": processes may build the same kernel"
                                                               : "";
  warn_once(kind, describe(error, path).append(consequence));
}

base::FileDescriptor DiskStore::open_folder(const std::vector<std::string_view>& below, Trouble kind, bool make) const {
  TrustedFolder opened = open_trusted(root_, below, trust_, make);
  if (!opened.refused.empty()) {
    warn_once(Trouble::trust,
              fmt::format("{} {}: nothing is read or kept there, since who can change a kernel can run code here; "
                          "KILN_CACHE_SHARED=on says that it is meant to be shared",
                          opened.path.string(), opened.refused));
  } else if (opened.error && (make || opened.error.error != ENOENT)) {
    complain(kind, opened.error, opened.path);
  }
  return std::move(opened.folder);
}

std::string DiskStore::refusal() const {
  if (root_.empty()) return {};
  const TrustedFolder opened = open_trusted(root_, {kVersionFolder}, trust_, false);
  return opened.refused.empty() ? "" : fmt::format("{} {}", opened.path.string(), opened.refused);
}

fs::path DiskStore::make_side_folder(std::string_view name) const {
  if (root_.empty() || access_ == Access::read_only) return {};
  return open_folder({kVersionFolder, name}, Trouble::write, true).valid() ? version_folder() / name : fs::path();
}

DiskStore::Loaded DiskStore::load(int folder, const fs::path& path) const {
  Loaded loaded;
  FileContent content;
  loaded.error = read_whole(folder, path, kMaxEntryBytes, content);
  loaded.identity = content.identity;
  loaded.used = time_of(content.info.st_mtim);
  if (content.refused.empty()) content.refused = distrust(content.info, trust_);
  if (loaded.error.error == ENOENT)
    loaded.error = {};
  else if (!content.refused.empty())
    loaded.damage = std::move(content.refused);
  else if (!loaded.error)
    loaded.entry = decode(content.span(), loaded.damage);
  if (loaded.entry && path.filename() != file_name(loaded.entry->kernel_id, loaded.entry->build_id)) {
    loaded.damage = fmt::format("holds kernel {}, build {}", loaded.entry->kernel_id, loaded.entry->build_id);
    loaded.entry.reset();
  }
  return loaded;
}

std::optional<Entry> DiskStore::load_or_quarantine(int shard, const fs::path& path, std::string_view build_id) const {
  Loaded loaded = load(shard, path.filename());
  if (loaded.entry && !build_id.empty() && loaded.entry->build_id != build_id) {
    loaded.damage = fmt::format("holds build {}", loaded.entry->build_id);
    loaded.entry.reset();
  }
  if (loaded.error) complain(Trouble::read, loaded.error, path);
  if (!loaded.damage.empty()) quarantine(path, loaded);
  if (loaded.entry) note_use(shard, path.filename(), loaded);
  return std::move(loaded.entry);
}

void DiskStore::note_use(int shard, const fs::path& name, const Loaded& loaded) const {
  // About once an hour for each entry, and where a wrong clock wrote the time: a hit stays a read.
  const FileTime present = now();
  const bool recent = loaded.used > present - kClockSlack && loaded.used < present + kClockSlack;
  if (access_ == Access::read_only || recent) return;
  ::utimensat(shard, name.c_str(), nullptr, AT_SYMLINK_NOFOLLOW);  // in vain where we may not write
}

void DiskStore::quarantine(const fs::path& path, const Loaded& loaded) const {
  std::string fate = "left in place, the store is read-only";
  if (access_ == Access::read_write) {
    // One per name: a disk that keeps failing fills nothing.
    const fs::path aside = version_folder() / kQuarantineFolder / path.filename();
    IoError error = make_folders(aside.parent_path(), folder_mode(trust_));
    // Another process may have put a good entry here since we read. In the instant between this look and
    // the rename that can still happen; it costs one more build.
    const bool replaced = !error && identity_of(AT_FDCWD, path) != loaded.identity;
    if (!error && !replaced && std::rename(path.c_str(), aside.c_str()) != 0) error = {errno, "rename"};
    fate = error      ? "left in place, " + describe(error, path)
           : replaced ? "replaced meanwhile"
                      : "moved to " + aside.string();
  }
  log_.warning("damaged cache entry {}: {}; {}", path.string(), loaded.damage, fate);
}

std::optional<Entry> DiskStore::find_build(std::string_view kernel_id, std::string_view build_id) const {
  if (root_.empty() || !is_id(kernel_id) || !is_id(build_id)) return std::nullopt;
  const std::string_view shard_name = kernel_id.substr(0, kShardDigits);
  const base::FileDescriptor shard = open_folder({kVersionFolder, shard_name}, Trouble::read, false);
  if (!shard.valid()) return std::nullopt;
  return load_or_quarantine(shard.get(), version_folder() / shard_name / file_name(kernel_id, build_id), build_id);
}

std::optional<Entry> DiskStore::find_kernel(std::string_view kernel_id) const {
  if (root_.empty() || !is_id(kernel_id)) return std::nullopt;
  const std::string_view shard_name = kernel_id.substr(0, kShardDigits);
  const base::FileDescriptor shard = open_folder({kVersionFolder, shard_name}, Trouble::read, false);
  if (!shard.valid()) return std::nullopt;
  const fs::path folder = version_folder() / shard_name;
  std::vector<std::string> names;
  if (const IoError error = list_folder(folder, names)) complain(Trouble::read, error, folder);
  for (const std::string& name : names) {
    if (!name.starts_with(kernel_id) || !name.ends_with(kEntrySuffix)) continue;
    if (auto entry = load_or_quarantine(shard.get(), folder / name, {})) return entry;
  }
  return std::nullopt;
}

bool DiskStore::publish(const Entry& entry) const {
  if (root_.empty()) return false;
  if (access_ == Access::read_only) {
    warn_once(Trouble::write, fmt::format("{} is a read-only store: {} is not kept", root_.string(), entry.name));
    return false;
  }
  try {
    const auto bytes = encode(entry);
    const std::string_view shard_name = std::string_view(entry.kernel_id).substr(0, kShardDigits);
    const base::FileDescriptor shard = open_folder({kVersionFolder, shard_name}, Trouble::write, true);
    if (!shard.valid()) return false;
    const std::string name = file_name(entry.kernel_id, entry.build_id);
    const IoError error = publish_file(shard.get(), name, bytes, file_mode(trust_), settings_.hook);
    if (error) {
      complain(Trouble::write, error, version_folder() / shard_name);
    } else {
      look_after(shard.get(), name);
    }
    return !error;
  } catch (const Error& error) {  // no such entry can be written, whatever the disk
    log_.warning("{} is not kept: {}", entry.name, error.what());
    return false;
  }
}

void DiskStore::scan(const std::function<void(const StoredFile&)>& each) const {
  each_file([&](const fs::path& path) {
    if (path.extension() != kEntrySuffix || path.parent_path().filename() == kQuarantineFolder) return;
    Loaded loaded = load(AT_FDCWD, path);
    StoredFile file{.path = path, .bytes = 0, .entry = std::move(loaded.entry), .damage = std::move(loaded.damage)};
    if (loaded.error) file.damage = describe(loaded.error, path);
    if (!file.entry && file.damage.empty()) return;  // gone since it was listed
    std::error_code gone;
    const std::uintmax_t bytes = fs::file_size(path, gone);
    if (!gone) file.bytes = bytes;
    if (file.entry) file.entry->image = {};
    each(file);
  });
}

}  // namespace kiln::cache
