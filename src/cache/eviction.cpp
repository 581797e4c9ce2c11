#include "cache/eviction.hpp"

#include "cache/layout.hpp"

#include <algorithm>
#include <tuple>

namespace kiln::cache {
namespace {

/// The limit to come down to: a share of it where it is exceeded, so that the next publication doesn't evict
/// again.
std::uint64_t goal(std::uint64_t limit, std::uint64_t used, double share) {
  if (limit == 0) return used;
  return used > limit ? static_cast<std::uint64_t>(static_cast<double>(limit) * share) : limit;
}

}  // namespace

FileTime time_of(const struct timespec& time) {
  return FileTime(std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec));
}

FileTime now() { return std::chrono::time_point_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now()); }

Usage& Usage::operator+=(const Usage& more) {
  files += more.files;
  bytes += more.bytes;
  return *this;
}

bool Limits::exceeded_by(const Usage& usage) const {
  return (max_files != 0 && usage.files > max_files) || (max_bytes != 0 && usage.bytes > max_bytes);
}

std::vector<Evictable> choose_victims(std::vector<Evictable> files, Usage usage, const Limits& limits, double share,
                                      FileTime now, std::optional<std::chrono::seconds> unused_for) {
  const auto rank = [now](const Evictable& file) {
    const bool plausible = file.used <= now + kClockSlack;
    return std::tuple(!file.damaged, plausible, file.used);
  };
  std::ranges::sort(files, {}, rank);
  const std::uint64_t most_files = goal(limits.max_files, usage.files, share);
  const std::uint64_t most_bytes = goal(limits.max_bytes, usage.bytes, share);
  std::vector<Evictable> victims;
  for (Evictable& file : files) {
    const bool old = unused_for && file.used < now - *unused_for;
    if (!old && usage.files <= most_files && usage.bytes <= most_bytes) continue;
    usage.files -= 1;
    usage.bytes -= file.bytes;
    victims.push_back(std::move(file));
  }
  return victims;
}

bool LookSchedule::due(const Usage& published, const Usage& shard, const Limits& limits) {
  // By this much each process may overrun the limits before it looks again.
  constexpr std::uint64_t kShare = 64;
  since_ += published;
  if (last_) {
    Usage known = *last_;
    known += since_;
    if (limits.exceeded_by(known)) return true;
    const bool much = (limits.max_files != 0 && since_.files * kShare >= limits.max_files) ||
                      (limits.max_bytes != 0 && since_.bytes * kShare >= limits.max_bytes);
    if (!much) return false;
  }
  return limits.exceeded_by({.files = shard.files * kShards, .bytes = shard.bytes * kShards});
}

void LookSchedule::looked(const Usage& total) {
  last_ = total;
  since_ = {};
}

}  // namespace kiln::cache
