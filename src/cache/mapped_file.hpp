#pragma once

#include "cache/file_io.hpp"
#include "cache/trust.hpp"

#include <filesystem>
#include <memory>
#include <span>
#include <string>

namespace kiln::cache {

/// A file in memory, read as it is touched; or why it is not.
struct MappedFile {
  std::span<const std::byte> bytes{};
  std::shared_ptr<const void> keeper{};  ///< unmaps it
  IoError error{};
  std::string refused{};  ///< not a regular file, or not to be trusted
};

/// Whoever writes into the file later changes the bytes, and whoever shortens it ends the process: a file is replaced
/// by renaming another. Follows links.
MappedFile map_file(const std::filesystem::path& path, Trust trust);

}  // namespace kiln::cache
