#pragma once

#include "cache/file_io.hpp"

#include <filesystem>

namespace kiln::cache {

// One lock file serves a whole store: each build locks one byte of it, at an offset taken from its id.
// So builds don't wait for each other, nothing accumulates and nothing is unlinked under a waiter.

/// Where that file lies: in the store's own folder if that is on this machine's disk, so that all who
/// share the store meet (containers too); else in `temporary_folder`, since locks of a network file
/// system may hang or do nothing. Two machines may then build the same kernel; both results are right.
IoError place_lock_file(const std::filesystem::path& version_folder, bool node_local,
                        const std::filesystem::path& temporary_folder, std::filesystem::path& lock_file);

/// Whether a folder is on a disk or memory of this machine, as far as its file system's type tells.
bool is_node_local(const std::filesystem::path& folder);

}  // namespace kiln::cache
