#include "cache/disk_store.hpp"

#include "base/fail.hpp"

#include <cerrno>
#include <cstdio>
#include <system_error>

namespace kiln::cache {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kVersionFolder = "v1";
constexpr std::string_view kQuarantineFolder = "quarantine";
constexpr std::string_view kEntrySuffix = ".kiln";
constexpr std::size_t kShardDigits = 2;   // 256 folders: listing one stays quick
constexpr std::size_t kBuildDigits = 16;  // tells the builds of one kernel apart; the file holds the whole id

std::string file_name(std::string_view kernel_id, std::string_view build_id) {
  return fmt::format("{}-{}{}", kernel_id, build_id.substr(0, kBuildDigits), kEntrySuffix);
}

bool is_shard_name(std::string_view name) {
  return name.size() == kShardDigits && name.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

/// Opened without following a link, so that nothing outside the store is listed or removed.
bool is_plain_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::symlink_status(path, ignored).type() == fs::file_type::directory;
}

}  // namespace

/// What became of reading one file: an entry, damage, an error, or nothing of these: no such file.
struct DiskStore::Loaded {
  std::optional<Entry> entry;
  std::string damage;
  IoError error;
  FileIdentity identity;
};

DiskStore::DiskStore(fs::path root, Access access, base::Logger log, PublishHook hook)
    : root_(std::move(root)), access_(access), log_(std::move(log)), hook_(hook) {
  std::error_code error;
  if (root_.empty()) return;
  const fs::path absolute = fs::absolute(root_, error);  // the program may change its folder later
  if (!error) root_ = absolute;
}

fs::path DiskStore::version_folder() const { return root_ / kVersionFolder; }
fs::path DiskStore::shard_folder(std::string_view kernel_id) const {
  return version_folder() / kernel_id.substr(0, kShardDigits);
}

void DiskStore::warn_once(Trouble kind, std::string_view message) const {
  const auto bit = static_cast<unsigned>(kind);
  const bool told = (told_->fetch_or(bit) & bit) != 0;
  log_.write(told ? LogLevel::debug : LogLevel::warning, message);
}

DiskStore::Loaded DiskStore::load(const fs::path& path) {
  Loaded loaded;
  FileContent content;
  loaded.error = read_whole(path, kMaxEntryBytes, content);
  loaded.identity = content.identity;
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

std::optional<Entry> DiskStore::load_or_quarantine(const fs::path& path, std::string_view build_id) const {
  Loaded loaded = load(path);
  if (loaded.entry && !build_id.empty() && loaded.entry->build_id != build_id) {
    loaded.damage = fmt::format("holds build {}", loaded.entry->build_id);
    loaded.entry.reset();
  }
  if (loaded.error) warn_once(Trouble::read, describe(loaded.error, path));
  if (!loaded.damage.empty()) quarantine(path, loaded);
  return std::move(loaded.entry);
}

void DiskStore::quarantine(const fs::path& path, const Loaded& loaded) const {
  const fs::path folder = version_folder() / kQuarantineFolder;
  std::string fate = "left in place, the store is read-only";
  if (access_ == Access::read_write) {
    const fs::path aside = folder / path.filename();  // one per name: a disk that keeps failing fills nothing
    IoError error = make_folders(folder);
    // Another process may have put a good entry here since we read. In the instant between this look and
    // the rename that can still happen; it costs one more build.
    const bool replaced = !error && identity_of(path) != loaded.identity;
    if (!error && !replaced && std::rename(path.c_str(), aside.c_str()) != 0) error = {errno, "rename"};
    fate = error      ? "left in place, " + describe(error, path)
           : replaced ? "replaced meanwhile"
                      : "moved to " + aside.string();
  }
  log_.warning("damaged cache entry {}: {}; {}", path.string(), loaded.damage, fate);
}

std::optional<Entry> DiskStore::find_build(std::string_view kernel_id, std::string_view build_id) const {
  if (root_.empty() || !is_id(kernel_id) || !is_id(build_id)) return std::nullopt;
  return load_or_quarantine(shard_folder(kernel_id) / file_name(kernel_id, build_id), build_id);
}

std::optional<Entry> DiskStore::find_kernel(std::string_view kernel_id) const {
  if (root_.empty() || !is_id(kernel_id)) return std::nullopt;
  const fs::path folder = shard_folder(kernel_id);
  std::vector<std::string> names;
  if (const IoError error = list_folder(folder, names)) warn_once(Trouble::read, describe(error, folder));
  for (const std::string& name : names) {
    if (!name.starts_with(kernel_id) || !name.ends_with(kEntrySuffix)) continue;
    if (auto entry = load_or_quarantine(folder / name, {})) return entry;
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
    const fs::path folder = shard_folder(entry.kernel_id);
    const auto bytes = encode(entry);
    const IoError error = publish_file(folder, file_name(entry.kernel_id, entry.build_id), bytes, hook_);
    if (error) warn_once(Trouble::write, fmt::format("{}: kernels are not kept", describe(error, folder)));
    return !error;
  } catch (const Error& error) {  // no such entry can be written, whatever the disk
    log_.warning("{} is not kept: {}", entry.name, error.what());
    return false;
  }
}

void DiskStore::each_file(const std::function<void(const fs::path&)>& each) const {
  if (root_.empty()) return;
  std::vector<std::string> folders;
  if (const IoError error = list_folder(version_folder(), folders)) warn_once(Trouble::read, describe(error, root_));
  for (const std::string& name : folders) {
    const fs::path folder = version_folder() / name;
    if (!(is_shard_name(name) || name == kQuarantineFolder) || !is_plain_folder(folder)) continue;
    std::vector<std::string> files;
    if (const IoError error = list_folder(folder, files)) warn_once(Trouble::read, describe(error, folder));
    for (const std::string& file : files) each(folder / file);
  }
}

void DiskStore::scan(const std::function<void(const StoredFile&)>& each) const {
  each_file([&](const fs::path& path) {
    if (path.extension() != kEntrySuffix || path.parent_path().filename() == kQuarantineFolder) return;
    Loaded loaded = load(path);
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

}  // namespace kiln::cache
