#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace kiln::base {

/// The whole file. Error(io) naming the file and the reason; a file above `most_bytes` is one.
std::string read_file(const std::filesystem::path& path, std::size_t most_bytes = std::size_t{1} << 30);

/// Replaces the file's content so that a reader sees the old text or the new one, never a part, also
/// after a crash. Missing folders are not made. Error(io) on failure, which leaves nothing behind.
void write_file_atomic(const std::filesystem::path& path, std::string_view text);

}  // namespace kiln::base
