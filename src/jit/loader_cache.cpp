#include "jit/loader_cache.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>

namespace kiln::jit {
namespace {

// glibc's format 1.1; numbers in the machine's own byte order, offsets from the start of the header.
constexpr std::string_view kMagic = "glibc-ld.so.cache1.1";

struct Header {
  char magic[20];
  std::uint32_t entry_count;
  std::uint32_t string_bytes;
  std::uint32_t unused[5];
};
static_assert(sizeof(Header) == 48);

struct EntryRecord {
  std::int32_t flags;
  std::uint32_t soname;  // offset of a string
  std::uint32_t path;    // offset of a string
  std::uint32_t os_version;
  std::uint64_t hardware;
};
static_assert(sizeof(EntryRecord) == 24);

/// The string at an offset; empty if it isn't ended within what a path may have. The cache has some thousand
/// entries, so a search for each that goes to its end would not come to one.
std::string_view string_at(std::string_view cache, std::uint32_t offset) {
  constexpr std::size_t kMostBytes = 4096;
  if (offset >= cache.size()) return {};
  const std::string_view rest = cache.substr(offset, kMostBytes);
  const std::size_t end = rest.find('\0');
  return end == std::string_view::npos ? std::string_view{} : rest.substr(0, end);
}

}  // namespace

std::vector<std::filesystem::path> find_in_loader_cache(std::string_view cache, std::string_view soname) {
  const std::size_t start = cache.find(kMagic);  // older systems put their old format before it
  if (start == std::string_view::npos || cache.size() - start < sizeof(Header)) return {};
  cache.remove_prefix(start);
  Header header;
  std::memcpy(&header, cache.data(), sizeof(header));
  const std::size_t count =
      std::min<std::size_t>(header.entry_count, (cache.size() - sizeof(Header)) / sizeof(EntryRecord));
  std::vector<std::filesystem::path> found;
  for (std::size_t i = 0; i < count; ++i) {
    EntryRecord entry;
    std::memcpy(&entry, cache.data() + sizeof(Header) + i * sizeof(EntryRecord), sizeof(entry));
    if (string_at(cache, entry.soname) != soname) continue;
    const std::string_view path = string_at(cache, entry.path);
    if (path.starts_with('/')) found.emplace_back(path);
  }
  return found;
}

}  // namespace kiln::jit
