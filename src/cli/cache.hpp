#pragma once

#include "cache/disk_store.hpp"
#include "cli/commands.hpp"

#include <chrono>
#include <string_view>

namespace kiln::cli {

/// "90s", "30m", "12h" or "7d".
std::chrono::seconds parse_age(std::string_view text);

/// `kiln cache prune` and `kiln cache explain`, given the store.
ExitCode prune(const Common& common, const cache::DiskStore& store, const CacheArguments& arguments);
ExitCode explain(const Common& common, const cache::DiskStore& store, const CacheArguments& arguments);

}  // namespace kiln::cli
