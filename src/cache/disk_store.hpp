#pragma once

#include "base/file_descriptor.hpp"
#include "base/log.hpp"
#include "cache/entry.hpp"
#include "cache/publish.hpp"

#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>

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

/// Kernels in a folder that many processes share. No failure of the disk is fatal: a read that fails
/// is a miss and a write that fails is a warning, told once per store and kind. Thread-safe; copies
/// share what they have warned of. docs/CACHE.md says what lies where and what happens on each fault.
class DiskStore {
 public:
  enum class Access { read_write, read_only };
  /// Touches no disk yet. An empty root keeps nothing. `hook` is for tests that die while publishing.
  DiskStore(std::filesystem::path root, Access access, base::Logger log, PublishHook hook = nullptr);

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
  /// Writes a temporary file, syncs it and renames it into place. False, with a warning, on failure.
  bool publish(const Entry& entry) const;

  /// Every entry file; `each` may be called thousands of times. Reads and verifies each one whole.
  void scan(const std::function<void(const StoredFile&)>& each) const;
  /// Removes every entry, temporary and quarantined file of this version; returns how many.
  std::size_t clear() const;

  [[nodiscard]] const std::filesystem::path& root() const noexcept { return root_; }

 private:
  enum class Trouble : unsigned { read = 1, write = 2, lock = 4 };
  struct Loaded;

  [[nodiscard]] std::filesystem::path version_folder() const;
  [[nodiscard]] std::filesystem::path shard_folder(std::string_view kernel_id) const;
  [[nodiscard]] static Loaded load(const std::filesystem::path& path);
  [[nodiscard]] std::optional<Entry> load_or_quarantine(const std::filesystem::path& path,
                                                        std::string_view build_id) const;
  void quarantine(const std::filesystem::path& path, const Loaded& loaded) const;
  void each_file(const std::function<void(const std::filesystem::path&)>& each) const;
  void warn_once(Trouble kind, std::string_view message) const;

  std::filesystem::path root_;
  Access access_;
  base::Logger log_;
  PublishHook hook_;
  std::shared_ptr<std::atomic<unsigned>> told_ = std::make_shared<std::atomic<unsigned>>(0U);
};

}  // namespace kiln::cache
