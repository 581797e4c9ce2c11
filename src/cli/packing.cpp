#include "cli/packing.hpp"

#include "base/fail.hpp"
#include "base/files.hpp"
#include "cache/pack.hpp"

#include <cerrno>
#include <system_error>
#include <unistd.h>
#include <utility>
#include <vector>

namespace kiln::cli {

bool names_pack(const std::filesystem::path& path) { return path.extension() == kPackSuffix; }

void PackContent::add(cache::Entry entry) {
  const std::string id = entry.kernel_id;
  if (!entries_.emplace(id, std::move(entry)).second) ++left_out_;
}

std::uint64_t PackContent::write(const std::filesystem::path& path) const {
  std::vector<cache::Entry> entries;
  entries.reserve(entries_.size());
  for (const auto& [id, entry] : entries_) entries.push_back(entry);
  const auto bytes = cache::encode_pack(std::move(entries));
  base::write_file_atomic(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  return bytes.size();
}

void check_writable(const std::filesystem::path& pack) {
  const auto folder = pack.has_parent_path() ? pack.parent_path() : std::filesystem::path(".");
  if (::access(folder.c_str(), W_OK | X_OK) == 0) return;
  base::fail(ErrorCode::io, "cannot write {}: {}: {}", pack.string(), folder.string(),
             std::generic_category().message(errno));
}

}  // namespace kiln::cli
