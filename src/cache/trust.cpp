#include "cache/trust.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <fcntl.h>
#include <unistd.h>

namespace kiln::cache {
namespace {

namespace fs = std::filesystem;

bool is_link(int above, const char* name) {
  struct stat info{};
  return ::fstatat(above, name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(info.st_mode);
}

/// Opens one folder below `above` into `opened`. False, with the reason there, if it can't or must not be.
bool open_one(int above, const char* name, bool follow, Trust trust, TrustedFolder& opened) {
  const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW);
  base::FileDescriptor folder(::openat(above, name, flags));
  if (!folder.valid()) {
    opened.error = {errno, "open"};
    if (!follow && (errno == ELOOP || errno == ENOTDIR) && is_link(above, name)) {
      opened.error = {};
      opened.refused = "is a symbolic link";
    }
    return false;
  }
  struct stat info{};
  if (::fstat(folder.get(), &info) != 0) {
    opened.error = {errno, "stat"};
    return false;
  }
  opened.refused = distrust(info, trust);
  opened.folder = std::move(folder);
  return opened.refused.empty();
}

/// With a slash at its end a link would be followed.
fs::path without_trailing_slash(fs::path path) {
  while (path.has_relative_path() && (!path.has_filename() || path.filename() == ".")) path = path.parent_path();
  return path;
}

}  // namespace

std::string distrust(const struct stat& info, Trust trust) {
  if (trust == Trust::shared) return {};
  if (info.st_uid != ::geteuid() && info.st_uid != 0) return fmt::format("belongs to user {}", info.st_uid);
  if ((info.st_mode & S_IWOTH) != 0) return "is writable by everyone";
  // An access list that lets others write shows here too: its mask stands in the group's place.
  if (trust == Trust::own && (info.st_mode & S_IWGRP) != 0) return "is writable by its group";
  return {};
}

TrustedFolder open_trusted(const fs::path& root, const std::vector<std::string_view>& below, Trust trust, bool make) {
  TrustedFolder opened;
  opened.path = without_trailing_slash(root);
  if (make) {
    opened.error = make_folders(opened.path, folder_mode(trust));
    if (opened.error) return opened;
  }
  bool good = open_one(AT_FDCWD, opened.path.c_str(), trust != Trust::own, trust, opened);
  for (const std::string_view part : below) {
    if (!good) break;
    const std::string name(part);
    opened.path /= name;
    const base::FileDescriptor above = std::move(opened.folder);
    if (make && ::mkdirat(above.get(), name.c_str(), folder_mode(trust)) != 0 && errno != EEXIST) {
      opened.error = {errno, "make folder"};
      return opened;
    }
    good = open_one(above.get(), name.c_str(), false, trust, opened);
  }
  if (!good) opened.folder = base::FileDescriptor();
  return opened;
}

}  // namespace kiln::cache
