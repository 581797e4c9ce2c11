#include "api/stores.hpp"

#include "api/cache_folder.hpp"

#include <algorithm>
#include <string>
#include <string_view>

namespace kiln::api {

cache::StoreSettings store_settings(const Options& options) {
  return {.limits = {.max_bytes = options.cache_max_bytes,
                     .max_files = static_cast<std::uint64_t>(std::max(options.cache_max_files, 0))},
          .shared = options.cache_shared};
}

std::vector<std::filesystem::path> precompiled_folders(const Options& options) {
  std::vector<std::filesystem::path> folders;
  if (!options.precompiled_dir) return folders;
  const std::string& names = options.precompiled_dir->native();
  for (std::string_view rest = names; !rest.empty();) {
    const std::string_view name = rest.substr(0, rest.find(':'));
    if (!name.empty()) folders.emplace_back(name);
    rest.remove_prefix(std::min(rest.size(), name.size() + 1));
  }
  return folders;
}

std::vector<cache::DiskStore> precompiled_stores(const Options& options, const base::Logger& log) {
  std::vector<cache::DiskStore> stores;
  for (auto& folder : precompiled_folders(options)) {
    stores.emplace_back(std::move(folder), cache::DiskStore::Access::read_only, log, store_settings(options));
  }
  return stores;
}

std::optional<cache::DiskStore> disk_store(const Options& options, const base::Logger& log) {
  auto folder = cache_folder(options, log);
  if (folder.empty()) return {};
  return cache::DiskStore(std::move(folder), cache::DiskStore::Access::read_write, log, store_settings(options));
}

}  // namespace kiln::api
