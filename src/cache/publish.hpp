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

/// Puts a file into a folder so that a reader, now or after a crash, finds all of it or nothing:
/// temporary file, sync, rename, sync of the folder. Makes the folder. On failure leaves nothing.
IoError publish_file(const std::filesystem::path& folder, const std::string& name, std::span<const std::byte> bytes,
                     PublishHook hook);

}  // namespace kiln::cache
