#pragma once

#include "cache/disk_store.hpp"
#include "cli/commands.hpp"

#include <chrono>
#include <string_view>
#include <vector>

namespace kiln::cli {

/// "90s", "30m", "12h" or "7d".
std::chrono::seconds parse_age(std::string_view text);

/// Lists good kernels by name, damaged files last, as `ls` does.
void list(const Common& common, std::vector<cache::StoredFile> files);
/// Names the damaged ones, which make it ExitCode::wrong.
ExitCode verify(const Common& common, const std::vector<cache::StoredFile>& files, std::string_view noun);

/// `kiln cache prune` and `kiln cache explain`, given the store.
ExitCode prune(const Common& common, const cache::DiskStore& store, const CacheArguments& arguments);
ExitCode explain(const Common& common, const cache::DiskStore& store, const CacheArguments& arguments);

}  // namespace kiln::cli
