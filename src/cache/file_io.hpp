#pragma once

#include "base/file_descriptor.hpp"

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <sys/stat.h>
#include <sys/types.h>
#include <vector>

namespace kiln::cache {

/// What a system call refused. The cache reports such things, it does not throw them.
struct IoError {
  int error = 0;  ///< errno; 0: all went well
  const char* doing = "";

  explicit operator bool() const noexcept { return error != 0; }
};

/// "cannot write /a/b: No space left on device"
std::string describe(const IoError& error, const std::filesystem::path& path);

/// Tells whether a name still leads to the file that was read.
struct FileIdentity {
  dev_t device = 0;
  ino_t inode = 0;
  bool operator==(const FileIdentity&) const = default;
};
FileIdentity identity_of(int folder, const std::filesystem::path& path);

struct FileContent {
  std::unique_ptr<std::byte[]> bytes;
  std::size_t size = 0;
  struct stat info{};  ///< of the open file; all zero if it was not opened
  FileIdentity identity;
  std::string refused;  ///< why the file was not read: not a regular file, or too large

  [[nodiscard]] std::span<const std::byte> span() const { return {bytes.get(), size}; }
};

/// Reads a file whole: one open, fstat and read. Follows no symbolic link and waits for no pipe. `path` is
/// below the open folder `folder`, which may be AT_FDCWD.
IoError read_whole(int folder, const std::filesystem::path& path, std::size_t most_bytes, FileContent& content);
IoError write_all(int file, std::span<const std::byte> bytes);
/// Syncs a file or folder and checks it, leaving out file systems that know no such thing.
IoError sync(int file);

/// Makes the folder and its parents. Is well if it is there already.
IoError make_folders(const std::filesystem::path& folder, mode_t mode = 0700);
/// The names in a folder, sorted. None if there is no such folder.
IoError list_folder(const std::filesystem::path& folder, std::vector<std::string>& names);

}  // namespace kiln::cache
