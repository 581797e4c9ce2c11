#pragma once

#include <cstring>
#include <elf.h>
#include <string>
#include <string_view>

namespace kiln::test {

#if defined(__aarch64__)
inline constexpr int kThisMachine = EM_AARCH64;
inline constexpr int kOtherMachine = EM_X86_64;
#else
inline constexpr int kThisMachine = EM_X86_64;
inline constexpr int kOtherMachine = EM_AARCH64;
#endif

/// A note as it stands in a note segment.
inline std::string note(std::string_view name, std::string_view content, Elf64_Word type = NT_GNU_BUILD_ID) {
  const auto size = [](std::string_view text) { return static_cast<Elf64_Word>(text.size()); };
  const Elf64_Nhdr header{size(name), size(content), type};
  std::string text(reinterpret_cast<const char*>(&header), sizeof(header));
  const auto append = [&](std::string_view part) {
    text += part;
    text.resize((text.size() + 3) / 4 * 4);
  };
  append(name);
  append(content);
  return text;
}

constexpr std::string_view kGnu("GNU\0", 4);

/// A little-endian ELF file of a header, one segment that is not a note, and one that holds `notes`.
template <class Header = Elf64_Ehdr, class Segment = Elf64_Phdr>
std::string fake_elf(std::string_view notes, int machine = kThisMachine) {
  Header header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = sizeof(Header) == sizeof(Elf64_Ehdr) ? ELFCLASS64 : ELFCLASS32;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_DYN;
  header.e_machine = static_cast<Elf64_Half>(machine);
  header.e_phoff = sizeof(Header);
  header.e_phentsize = sizeof(Segment);
  header.e_phnum = 2;
  Segment segments[2]{};
  segments[0].p_type = PT_LOAD;
  segments[1].p_type = PT_NOTE;
  segments[1].p_offset = sizeof(Header) + sizeof(segments);
  segments[1].p_filesz = static_cast<decltype(segments[1].p_filesz)>(notes.size());
  segments[1].p_align = 4;
  std::string file(reinterpret_cast<const char*>(&header), sizeof(header));
  file.append(reinterpret_cast<const char*>(segments), sizeof(segments));
  return file.append(notes);
}

/// A library of this machine whose build id is these bytes, in hex.
inline std::string fake_library(std::string_view build_id) { return fake_elf(note(kGnu, build_id)); }

}  // namespace kiln::test
