#include "api/stores.hpp"

#include "api/cache_folder.hpp"

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

namespace kiln::api {
namespace {

namespace fs = std::filesystem;

/// The names between the colons.
std::vector<fs::path> named_paths(const std::optional<fs::path>& names) {
  std::vector<fs::path> paths;
  if (!names) return paths;
  for (std::string_view rest = names->native(); !rest.empty();) {
    const std::string_view name = rest.substr(0, rest.find(':'));
    if (!name.empty()) paths.emplace_back(name);
    rest.remove_prefix(std::min(rest.size(), name.size() + 1));
  }
  return paths;
}

}  // namespace

cache::StoreSettings store_settings(const Options& options) {
  return {.limits = {.max_bytes = options.cache_max_bytes,
                     .max_files = static_cast<std::uint64_t>(std::max(options.cache_max_files, 0))},
          .shared = options.cache_shared};
}

std::vector<Precompiled> precompiled_stores(const Options& options, const base::Logger& log) {
  std::vector<Precompiled> stores;
  for (auto& path : named_paths(options.precompiled)) {
    std::error_code ignored;
    if (fs::is_regular_file(path, ignored)) {
      const auto trust = options.cache_shared ? cache::Trust::shared : cache::Trust::named;
      stores.emplace_back(cache::PackStore(std::move(path), trust, log));
    } else {
      stores.emplace_back(
          cache::DiskStore(std::move(path), cache::DiskStore::Access::read_only, log, store_settings(options)));
    }
  }
  for (const auto& pack : options.packs) stores.emplace_back(cache::PackStore(pack, log));
  return stores;
}

std::optional<cache::DiskStore> disk_store(const Options& options, const base::Logger& log) {
  auto folder = cache_folder(options, log);
  if (folder.empty()) return {};
  return cache::DiskStore(std::move(folder), cache::DiskStore::Access::read_write, log, store_settings(options));
}

}  // namespace kiln::api
