#include "base/machine_share.hpp"

#include "base/files.hpp"

#include <kiln/error.hpp>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <limits>
#include <memory>
#include <sched.h>
#include <string>
#include <thread>
#include <unistd.h>

namespace kiln::base {
namespace {

namespace fs = std::filesystem;

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\n\r";
  const auto begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

std::optional<std::int64_t> number(std::string_view text) {
  text = trimmed(text);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end == text.data()) return {};
  return value;
}

std::string_view take_line(std::string_view& text) {
  const auto end = std::min(text.find('\n'), text.size());
  const auto line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

/// The number after "key:" or "key " at a line's beginning.
std::optional<std::int64_t> value_of(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    const auto line = take_line(text);
    if (line.size() <= key.size() || !line.starts_with(key)) continue;
    if (line[key.size()] == ':' || line[key.size()] == ' ') return number(line.substr(key.size() + 1));
  }
  return {};
}

/// The whole file, empty if it can't be read.
std::string text_of(const fs::path& path) {
  constexpr std::size_t kMostBytes = std::size_t{1} << 20U;
  try {
    return read_file(path, kMostBytes);
  } catch (const Error&) {
    return {};
  }
}

/// How many cores the scheduler lets this thread use.
int scheduler_cores() {
  constexpr int kMostCores = 1 << 16;
  for (int cores = 1024; cores <= kMostCores; cores *= 2) {  // the kernel refuses a mask smaller than its own
    struct Free {
      void operator()(cpu_set_t* set) const { CPU_FREE(set); }
    };
    const std::unique_ptr<cpu_set_t, Free> set(CPU_ALLOC(static_cast<std::size_t>(cores)));
    if (!set) break;
    const std::size_t bytes = CPU_ALLOC_SIZE(static_cast<std::size_t>(cores));
    if (sched_getaffinity(0, bytes, set.get()) == 0) return CPU_COUNT_S(bytes, set.get());
    if (errno != EINVAL) break;
  }
  return static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
}

/// Calls `look` for a group's folder and each one above it, up to the root of the hierarchy. In a container the path
/// may be one of the host's, which is not there: its root is then the container's own group.
template <class Look>
void each_level(const fs::path& root, std::string_view path, Look&& look) {
  fs::path relative = fs::path(path).relative_path().lexically_normal();
  if (!relative.empty() && *relative.begin() == "..") relative.clear();
  for (; !relative.empty() && relative != "."; relative = relative.parent_path()) look(root / relative);
  look(root);
}

void limit_cores(MachineShare& share, std::optional<int> cores) {
  if (cores) share.cores = std::min(share.cores, *cores);
}

void limit_bytes(MachineShare& share, std::optional<std::uint64_t> bytes) {
  if (bytes) share.free_bytes = std::min(share.free_bytes, *bytes);
}

void apply_version_2(MachineShare& share, const fs::path& root, std::string_view path) {
  each_level(root, path, [&](const fs::path& group) {
    const std::string quota = text_of(group / "cpu.max");
    const auto space = std::min(quota.find(' '), quota.size());
    limit_cores(share, quota_cores(std::string_view(quota).substr(0, space), std::string_view(quota).substr(space)));
    limit_bytes(share, group_free_bytes(text_of(group / "memory.max"), text_of(group / "memory.current"),
                                        text_of(group / "memory.stat"), "inactive_file"));
  });
}

void apply_version_1(MachineShare& share, const fs::path& root, std::string_view self_cgroup) {
  if (const auto path = cgroup_path(self_cgroup, "cpu")) {
    each_level(root / "cpu", *path, [&](const fs::path& group) {
      limit_cores(share, quota_cores(text_of(group / "cpu.cfs_quota_us"), text_of(group / "cpu.cfs_period_us")));
    });
  }
  if (const auto path = cgroup_path(self_cgroup, "memory")) {
    each_level(root / "memory", *path, [&](const fs::path& group) {
      limit_bytes(share,
                  group_free_bytes(text_of(group / "memory.limit_in_bytes"), text_of(group / "memory.usage_in_bytes"),
                                   text_of(group / "memory.stat"), "total_inactive_file"));
    });
  }
}

}  // namespace

std::optional<std::uint64_t> available_bytes(std::string_view meminfo) {
  constexpr std::uint64_t kBytesPerKilobyte = 1024;
  const auto kilobytes = value_of(meminfo, "MemAvailable");
  if (!kilobytes || *kilobytes < 0) return {};
  return static_cast<std::uint64_t>(*kilobytes) * kBytesPerKilobyte;
}

std::optional<std::string_view> cgroup_path(std::string_view self_cgroup, std::string_view controller) {
  while (!self_cgroup.empty()) {
    const auto line = take_line(self_cgroup);  // <number>:<controller>,<controller>:<path>
    const auto first = line.find(':');
    if (first == std::string_view::npos) continue;
    const auto second = line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    auto names = line.substr(first + 1, second - first - 1);
    for (;;) {
      const auto comma = std::min(names.find(','), names.size());
      if (names.substr(0, comma) == controller) return line.substr(second + 1);
      if (comma == names.size()) break;
      names.remove_prefix(comma + 1);
    }
  }
  return {};
}

std::optional<int> quota_cores(std::string_view quota, std::string_view period) {
  const auto used = number(quota);  // "max" and -1 are no limit
  const auto each = number(period);
  if (!used || !each || *used <= 0 || *each <= 0) return {};
  const auto cores = *used / *each + (*used % *each != 0 ? 1 : 0);
  return static_cast<int>(std::min<std::int64_t>(cores, std::numeric_limits<int>::max()));
}

std::optional<std::uint64_t> group_free_bytes(std::string_view limit, std::string_view used, std::string_view stat,
                                              std::string_view inactive_key) {
  const auto most = number(limit);
  const auto now = number(used);
  if (!most || !now || *most < 0 || *now < 0) return {};
  const auto held =
      std::max<std::int64_t>(*now - std::max<std::int64_t>(value_of(stat, inactive_key).value_or(0), 0), 0);
  return static_cast<std::uint64_t>(std::max<std::int64_t>(*most - held, 0));
}

MachineShare machine_share(const MachineSources& sources) {
  MachineShare share;
  share.cores = sources.cores > 0 ? sources.cores : scheduler_cores();
  share.free_bytes =
      available_bytes(text_of(sources.proc / "meminfo")).value_or(std::numeric_limits<std::uint64_t>::max());
  const std::string self_cgroup = text_of(sources.proc / "self/cgroup");
  if (const auto path = cgroup_path(self_cgroup, "")) apply_version_2(share, sources.cgroup, *path);
  apply_version_1(share, sources.cgroup, self_cgroup);
  return share;
}

}  // namespace kiln::base
