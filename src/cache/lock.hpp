#pragma once

#include "cache/file_io.hpp"

#include <chrono>
#include <filesystem>
#include <stop_token>
#include <sys/types.h>

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
bool is_node_local(int folder);

/// The byte of a store's lock file that who evicts holds; builds lock bytes below it.
inline constexpr off_t kEvictionByte = off_t{1} << 60;
/// The byte of a temporary file that who writes it holds.
inline constexpr off_t kWholeTemporary = 0;

/// Tries once to lock a byte until the file is closed by all who have it. 0; EAGAIN or EACCES: another holds
/// it; else why locks don't work there.
int try_lock(int file, off_t offset);
/// The same again and again. EAGAIN when the patience is at its end. Error(cancelled) if a stop is asked for.
int lock_within(int file, off_t offset, std::chrono::milliseconds patience, const std::stop_token& stop = {});

}  // namespace kiln::cache
