#pragma once

#include "base/log.hpp"
#include "cache/disk_store.hpp"
#include "cache/pack.hpp"

#include <filesystem>
#include <utility>
#include <vector>

namespace kiln::test {

/// A pack of what a cache folder keeps.
inline std::vector<std::byte> packed(const std::filesystem::path& folder) {
  const cache::DiskStore store(folder, cache::DiskStore::Access::read_only, base::Logger(LogLevel::off, nullptr));
  std::vector<cache::Entry> entries;
  store.scan([&](const cache::StoredFile& file) {
    entries.push_back(store.find_build(file.entry->kernel_id, file.entry->build_id).value());
  });
  return cache::encode_pack(std::move(entries));
}

}  // namespace kiln::test
