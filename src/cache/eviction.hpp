#pragma once

#include "cache/file_io.hpp"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

namespace kiln::cache {

/// When a file was last written or used, by the file system's clock.
using FileTime = std::chrono::sys_time<std::chrono::nanoseconds>;
FileTime time_of(const struct timespec& time);
FileTime now();

/// What a store holds, or may hold.
struct Usage {
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;

  Usage& operator+=(const Usage& more);
  bool operator==(const Usage&) const = default;
};

/// How much a store may hold; 0: as much as it likes.
struct Limits {
  std::uint64_t max_bytes = std::uint64_t{2} << 30;
  std::uint64_t max_files = 20'000;

  [[nodiscard]] bool exceeded_by(const Usage& usage) const;
};

/// A file that eviction may take.
struct Evictable {
  std::filesystem::path path;
  std::uint64_t bytes = 0;
  FileTime used{};
  FileIdentity identity{};
  bool damaged = false;  ///< in quarantine: nobody will read it
};

/// Clocks of machines that share a folder, and ours before and after it is set, may differ so much before a
/// time counts as wrong.
inline constexpr std::chrono::hours kClockSlack{1};

/// What to remove so that `usage`, which includes all of `files`, comes within the limits, to `share` of each
/// limit that it exceeds, and nothing unused for `unused_for` stays: in the order to remove them. Damaged
/// files go first, then those whose time lies in the future, since a wrong clock wrote it and an entry in use
/// would have been set right, then the least recently used.
std::vector<Evictable> choose_victims(std::vector<Evictable> files, Usage usage, const Limits& limits, double share,
                                      FileTime now, std::optional<std::chrono::seconds> unused_for = {});

/// Decides after each publication whether to look at the whole store, which takes milliseconds, or whether the
/// one folder just written, a sample of 1/256, and what is known from last time are enough.
class LookSchedule {
 public:
  [[nodiscard]] bool due(const Usage& published, const Usage& shard, const Limits& limits);
  void looked(const Usage& total);

 private:
  std::optional<Usage> last_;  ///< what the last look found or left
  Usage since_;                ///< published by this process since
};

}  // namespace kiln::cache
