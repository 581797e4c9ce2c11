#pragma once

#include "cache/file_io.hpp"

#include <filesystem>
#include <span>
#include <string>

namespace kiln::cache {

/// The points of publishing where a process can die and leave something else behind.
enum class PublishStep { created, written, synced, renamed, folder_synced };
using PublishHook = void (*)(PublishStep);

/// What the names of unfinished files end with.
inline constexpr std::string_view kTemporarySuffix = ".tmp";

/// Puts a file into an open folder so that a reader, now or after a crash, finds all of it or nothing:
/// temporary file, sync, rename, sync of the folder. On failure leaves nothing. The temporary file is
/// locked while it is written, so that nobody takes it for a dead process's.
IoError publish_file(int folder, const std::string& name, std::span<const std::byte> bytes, mode_t mode,
                     PublishHook hook);

}  // namespace kiln::cache
