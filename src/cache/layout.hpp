#pragma once

#include <string_view>

namespace kiln::cache {

// What lies where below a store's root: docs/CACHE.md.
inline constexpr std::string_view kVersionFolder = "v1";
inline constexpr std::string_view kQuarantineFolder = "quarantine";
inline constexpr std::string_view kLockFile = "lock";
inline constexpr std::string_view kEntrySuffix = ".kiln";
inline constexpr std::size_t kShardDigits = 2;  // 256 folders: listing one stays quick
inline constexpr std::size_t kShards = 256;
inline constexpr std::size_t kBuildDigits = 16;  // tells the builds of one kernel apart; the file holds the whole id

}  // namespace kiln::cache
