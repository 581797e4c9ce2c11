#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace kiln::test {

/// An /etc/ld.so.cache with these sonames and paths.
inline std::string fake_loader_cache(const std::vector<std::pair<std::string, std::string>>& libraries) {
  std::string strings;
  std::string entries;
  const auto append = [](std::string& text, std::uint64_t value, std::size_t bytes) {
    text.append(reinterpret_cast<const char*>(&value), bytes);  // little-endian, as our machines are
  };
  const std::size_t strings_at = 48 + 24 * libraries.size();
  for (const auto& [soname, path] : libraries) {
    append(entries, 0x0303, 4);
    append(entries, strings_at + strings.size(), 4);
    append(entries, strings_at + strings.size() + soname.size() + 1, 4);
    entries.resize(entries.size() + 12);  // system version, hardware
    strings.append(soname).push_back('\0');
    strings.append(path).push_back('\0');
  }
  std::string cache = "glibc-ld.so.cache1.1";
  append(cache, libraries.size(), 4);
  append(cache, strings.size(), 4);
  cache.resize(48);
  return cache + entries + strings;
}

}  // namespace kiln::test
