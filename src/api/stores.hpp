#pragma once

#include "base/log.hpp"
#include "cache/disk_store.hpp"
#include "cache/pack_store.hpp"

#include <kiln/options.hpp>

#include <optional>
#include <variant>
#include <vector>

namespace kiln::api {

/// How a store behaves under these options.
cache::StoreSettings store_settings(const Options& options);

/// A folder of kernels or a pack of them, only read.
using Precompiled = std::variant<cache::DiskStore, cache::PackStore>;
/// What Options::precompiled names and Options::packs are, in the order to look in.
std::vector<Precompiled> precompiled_stores(const Options& options, const base::Logger& log);

/// Where kernels are kept; none if in memory only.
std::optional<cache::DiskStore> disk_store(const Options& options, const base::Logger& log);

}  // namespace kiln::api
