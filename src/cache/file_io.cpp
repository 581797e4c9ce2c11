#include "cache/file_io.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

namespace kiln::cache {
namespace {

/// Opens a file to read, or says in `content` that its kind is refused.
IoError open_regular(int folder, const std::filesystem::path& path, base::FileDescriptor& file, FileContent& content) {
  // Without O_NONBLOCK a named pipe put in the entry's place would hold us for ever.
  file =
      base::FileDescriptor(::openat(folder, path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  if (!file.valid()) {
    if (errno != ELOOP) return {errno, "open"};
    content.identity = identity_of(folder, path);
    content.refused = "a symbolic link";
    return {};
  }
  if (::fstat(file.get(), &content.info) != 0) return {errno, "stat"};
  content.identity = {content.info.st_dev, content.info.st_ino};
  if (!S_ISREG(content.info.st_mode)) content.refused = "not a regular file";
  content.size = static_cast<std::size_t>(content.info.st_size);
  return {};
}

}  // namespace

std::string describe(const IoError& error, const std::filesystem::path& path) {
  return fmt::format("cannot {} {}: {}", error.doing, path.string(), std::generic_category().message(error.error));
}

FileIdentity identity_of(int folder, const std::filesystem::path& path) {
  struct stat info{};
  if (::fstatat(folder, path.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return {};
  return {info.st_dev, info.st_ino};
}

IoError read_whole(int folder, const std::filesystem::path& path, std::size_t most_bytes, FileContent& content) {
  base::FileDescriptor file;
  if (const IoError error = open_regular(folder, path, file, content)) return error;
  if (content.refused.empty() && content.size > most_bytes) {
    content.refused = fmt::format("{} bytes, at most {} are allowed", content.size, most_bytes);
  }
  if (!content.refused.empty()) return {};
  content.bytes = std::make_unique_for_overwrite<std::byte[]>(content.size);
  std::size_t have = 0;
  while (have < content.size) {
    const ssize_t got = ::read(file.get(), content.bytes.get() + have, content.size - have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return {errno, "read"};
    if (got == 0) break;  // shrank since fstat
    have += static_cast<std::size_t>(got);
  }
  content.size = have;
  return {};
}

IoError write_all(int file, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return {errno, "write"};
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

IoError sync(int file) {
  // EINVAL: the file system has no sync for this kind of file, and nothing was lost.
  if (::fsync(file) != 0 && errno != EINVAL) return {errno, "sync"};
  return {};
}

IoError make_folders(const std::filesystem::path& folder, mode_t mode) {
  if (::mkdir(folder.c_str(), mode) == 0) return {};
  if (errno == ENOENT && folder.has_relative_path()) {
    if (const IoError error = make_folders(folder.parent_path(), mode)) return error;
    if (::mkdir(folder.c_str(), mode) == 0) return {};
  }
  const int error = errno;
  struct stat info{};
  if (error == EEXIST && ::stat(folder.c_str(), &info) == 0) {
    return S_ISDIR(info.st_mode) ? IoError{} : IoError{ENOTDIR, "use as a folder"};
  }
  return {error, "make folder"};
}

IoError list_folder(const std::filesystem::path& folder, std::vector<std::string>& names) {
  std::error_code error;
  std::filesystem::directory_iterator entry(folder, error);
  while (!error && entry != std::filesystem::directory_iterator()) {
    names.push_back(entry->path().filename().string());
    entry.increment(error);
  }
  std::ranges::sort(names);
  if (!error || error == std::errc::no_such_file_or_directory) return {};
  return {error.value(), "list"};
}

}  // namespace kiln::cache
