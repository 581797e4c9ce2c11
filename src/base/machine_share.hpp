#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>

namespace kiln::base {

/// What of the machine this process may use.
struct MachineShare {
  int cores = 1;
  std::uint64_t free_bytes = 0;
};

/// Where the system tells it; tests give texts of their own.
struct MachineSources {
  std::filesystem::path proc = "/proc";
  std::filesystem::path cgroup = "/sys/fs/cgroup";
  int cores = 0;  ///< as the scheduler allows; 0: ask it
};

/// The least of what the machine has, the scheduler's mask allows, and the control groups (both versions, every level
/// up to the root) leave. What can't be read does not limit.
MachineShare machine_share(const MachineSources& sources = {});

/// MemAvailable of /proc/meminfo: what can be had without swapping, page cache that can be dropped included.
std::optional<std::uint64_t> available_bytes(std::string_view meminfo);
/// The group's path for a controller in /proc/self/cgroup; "" names version 2's only line ("0::/path").
std::optional<std::string_view> cgroup_path(std::string_view self_cgroup, std::string_view controller);
/// Whole cores for "200000 100000" (microseconds to use, of each so many), rounded up; none for "max 100000".
std::optional<int> quota_cores(std::string_view quota, std::string_view period);
/// What a group of memory leaves: the limit less what is used, where file pages not in use don't count as such. None
/// without a limit. `stat` is memory.stat; `inactive_key` its line of those pages.
std::optional<std::uint64_t> group_free_bytes(std::string_view limit, std::string_view used, std::string_view stat,
                                              std::string_view inactive_key);

}  // namespace kiln::base
