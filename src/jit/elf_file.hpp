#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace kiln::jit {

/// What the first pages of a shared library tell of it.
struct ElfFile {
  bool for_this_machine = false;  ///< same processor, word size and byte order as this process
  std::string build_id;           ///< lower-case hex; empty if there is none
};

/// Reads only the headers and the notes. Empty if the file can't be read or is no ELF file.
std::optional<ElfFile> read_elf(const std::filesystem::path& path);

}  // namespace kiln::jit
