#pragma once

#include "base/log.hpp"
#include "cache/disk_store.hpp"

#include <kiln/options.hpp>

#include <filesystem>
#include <optional>
#include <vector>

namespace kiln::api {

/// How a store behaves under these options.
cache::StoreSettings store_settings(const Options& options);

/// The folders that Options::precompiled_dir names, in the order to look in.
std::vector<std::filesystem::path> precompiled_folders(const Options& options);
std::vector<cache::DiskStore> precompiled_stores(const Options& options, const base::Logger& log);

/// Where kernels are kept; none if in memory only.
std::optional<cache::DiskStore> disk_store(const Options& options, const base::Logger& log);

}  // namespace kiln::api
