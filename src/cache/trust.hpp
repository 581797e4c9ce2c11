#pragma once

#include "cache/file_io.hpp"

#include <filesystem>
#include <string>
#include <string_view>
#include <sys/stat.h>
#include <vector>

namespace kiln::cache {

/// Whom a store's files may belong to. A kernel is code: whoever can write it runs it in our process.
enum class Trust {
  own,     ///< ours or root's, writable by nobody else, not a link: where kernels are kept unasked
  named,   ///< as own, but the root may be a link and all may be their group's: a folder named to be read
  shared,  ///< declared shared: anybody's
};

/// Why a file or folder must not be used ("belongs to user 1001"); empty if it may be.
std::string distrust(const struct stat& info, Trust trust);

/// A folder that was opened and checked, or why it was not.
struct TrustedFolder {
  base::FileDescriptor folder;
  IoError error;
  std::string refused;
  std::filesystem::path path;  ///< of the folder, or of that above it which failed
};

/// Opens a store's folder: the root and then one folder below the other, each by the one above it, so that
/// what was checked is what is used. What leads to the root is the caller's own business. Below the root no
/// link is followed. `make`: missing folders are made, private unless shared.
TrustedFolder open_trusted(const std::filesystem::path& root, const std::vector<std::string_view>& below, Trust trust,
                           bool make);

/// Permissions of what a store makes: private, or what the user's umask leaves of all where it is shared.
constexpr mode_t folder_mode(Trust trust) { return trust == Trust::shared ? 0777 : 0700; }
constexpr mode_t file_mode(Trust trust) { return trust == Trust::shared ? 0666 : 0600; }

}  // namespace kiln::cache
