#pragma once

#include "base/file_descriptor.hpp"
#include "base/log.hpp"
#include "cache/entry.hpp"
#include "cache/eviction.hpp"
#include "cache/publish.hpp"
#include "cache/trust.hpp"

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kiln::cache {

/// Holds a build's lock until destroyed. The kernel drops it when the process dies.
class BuildLock {
 public:
  BuildLock() = default;
  explicit BuildLock(base::FileDescriptor file) : file_(std::move(file)) {}
  BuildLock(BuildLock&& other) noexcept = default;
  BuildLock& operator=(BuildLock&& other) noexcept;
  ~BuildLock() { release(); }
  [[nodiscard]] bool held() const noexcept { return file_.valid(); }

 private:
  void release() noexcept;
  base::FileDescriptor file_;
};

/// One file of the store, good or not.
struct StoredFile {
  std::filesystem::path path;
  std::uintmax_t bytes = 0;
  std::optional<Entry> entry;  ///< without the image; empty if damaged
  std::string damage;          ///< why it is damaged
};

struct StoreSettings {
  Limits limits{};
  bool shared = false;         ///< others may own and write the folders: Trust::shared
  PublishHook hook = nullptr;  ///< for tests that die while publishing
};

/// What to remove besides what exceeds the limits, and how.
struct PruneRequest {
  Limits limits{};
  std::optional<std::chrono::seconds> unused_for{};
  bool dry_run = false;  ///< only counts
};

struct PruneReport {
  Usage removed{};  ///< entries, damaged ones and stale temporary files
  Usage left{};
  bool busy = false;  ///< another process was at it: nothing was done
};

/// Kernels in a folder that many processes share. No failure of the disk is fatal: a read that fails
/// is a miss and a write that fails is a warning, told once per store and kind. Thread-safe; copies
/// share what they have warned of. docs/CACHE.md says what lies where and what happens on each fault.
class DiskStore {
 public:
  enum class Access { read_write, read_only };
  /// Touches no disk yet. An empty root keeps nothing.
  DiskStore(std::filesystem::path root, Access access, base::Logger log, StoreSettings settings = {});

  /// The entry, verified. A damaged file is moved aside, warned of, and a miss.
  [[nodiscard]] std::optional<Entry> find_build(std::string_view kernel_id, std::string_view build_id) const;
  /// Any verified entry of a kernel, whichever compiler built it.
  [[nodiscard]] std::optional<Entry> find_kernel(std::string_view kernel_id) const;

  /// Waits for the lock of one build, at most `patience`; after that, or where locks don't work,
  /// returns one not held, with a warning, and the caller builds anyway. Never held, and no warning,
  /// where nothing can be published: an empty root or a read-only store. Error(cancelled) if a stop is asked for
  /// meanwhile.
  [[nodiscard]] BuildLock lock(std::string_view build_id, std::chrono::milliseconds patience,
                               const std::stop_token& stop = {}) const;
  /// Writes a temporary file, syncs it and renames it into place. False, with a warning, on failure. Then
  /// evicts if the store has grown beyond its limits.
  bool publish(const Entry& entry) const;

  /// Every entry file; `each` may be called thousands of times. Reads and verifies each one whole.
  void scan(const std::function<void(const StoredFile&)>& each) const;
  /// Removes every entry, temporary and quarantined file of this version; returns how many.
  std::size_t clear() const;
  /// Removes what the request says and what dead processes left, least recently used first.
  [[nodiscard]] PruneReport prune(const PruneRequest& request) const;

  /// Makes a folder beside the entries, for other things worth keeping, e.g. what failed. Empty, with a
  /// warning, if it can't be.
  [[nodiscard]] std::filesystem::path make_side_folder(std::string_view name) const;
  /// Why the folder must not be used, e.g. since it belongs to another user; empty if it may be or is not there.
  [[nodiscard]] std::string refusal() const;

  [[nodiscard]] const std::filesystem::path& root() const noexcept { return root_; }

 private:
  enum class Trouble : unsigned { read = 1, write = 2, lock = 4, trust = 8 };
  struct Loaded;
  struct Shared;

  [[nodiscard]] std::filesystem::path version_folder() const;
  /// A folder of the store, open and trusted. Not valid, with a warning, if it can't or must not be used;
  /// without one if it is not there.
  [[nodiscard]] base::FileDescriptor open_folder(const std::vector<std::string_view>& below, Trouble kind,
                                                 bool make) const;
  [[nodiscard]] base::FileDescriptor open_lock_file(std::filesystem::path& lock_file) const;

  [[nodiscard]] Loaded load(int folder, const std::filesystem::path& path) const;
  [[nodiscard]] std::optional<Entry> load_or_quarantine(int shard, const std::filesystem::path& path,
                                                        std::string_view build_id) const;
  void quarantine(const std::filesystem::path& path, const Loaded& loaded) const;
  void note_use(int shard, const std::filesystem::path& name, const Loaded& loaded) const;

  void each_file(const std::function<void(const std::filesystem::path&)>& each) const;
  void look_after(int shard, const std::string& published) const;
  [[nodiscard]] PruneReport prune_to(const PruneRequest& request, double share, const std::filesystem::path& spared,
                                     std::chrono::milliseconds patience) const;

  void warn_once(Trouble kind, std::string_view message) const;
  void complain(Trouble kind, const IoError& error, const std::filesystem::path& path) const;

  std::filesystem::path root_;
  Access access_;
  Trust trust_;
  StoreSettings settings_;
  base::Logger log_;
  std::shared_ptr<Shared> shared_;
};

}  // namespace kiln::cache
