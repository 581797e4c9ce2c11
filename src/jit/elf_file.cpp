#include "jit/elf_file.hpp"

#include "base/file_descriptor.hpp"
#include "base/sha256.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <elf.h>
#include <fcntl.h>
#include <limits>
#include <span>
#include <string_view>
#include <sys/stat.h>
#include <vector>

namespace kiln::jit {
namespace {

constexpr std::size_t kMostNoteBytes = std::size_t{64} << 10;  // a linker writes some dozens
constexpr std::size_t kMostBuildIdBytes = 64;
constexpr unsigned char kHostOrder = std::endian::native == std::endian::little ? ELFDATA2LSB : ELFDATA2MSB;
constexpr unsigned char kHostClass = sizeof(void*) == 8 ? ELFCLASS64 : ELFCLASS32;
#if defined(__x86_64__)
constexpr int kHostMachine = EM_X86_64;
#elif defined(__aarch64__)
constexpr int kHostMachine = EM_AARCH64;
#else
constexpr int kHostMachine = EM_NONE;  // not known here: word size and byte order have to do
#endif

bool read_at(const base::FileDescriptor& file, std::uint64_t offset, std::span<std::byte> into) {
  constexpr auto kMostOffset = static_cast<std::uint64_t>(std::numeric_limits<off_t>::max());
  while (!into.empty()) {
    if (offset > kMostOffset) return false;
    const ssize_t got = ::pread(file.get(), into.data(), into.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    into = into.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
  return true;
}

template <class T>
bool read_value(const base::FileDescriptor& file, std::uint64_t offset, T& value) {
  return read_at(file, offset, std::as_writable_bytes(std::span(&value, 1)));
}

/// The build id within one note segment, or empty.
std::string find_build_id(std::span<const std::byte> notes, std::size_t alignment) {
  const auto padded = [&](std::size_t size) { return (size + alignment - 1) / alignment * alignment; };
  while (notes.size() >= sizeof(Elf64_Nhdr)) {  // the 32-bit one is the same
    Elf64_Nhdr note;
    std::memcpy(&note, notes.data(), sizeof(note));
    notes = notes.subspan(sizeof(note));
    if (note.n_namesz > notes.size() || note.n_descsz > notes.size()) return {};
    const std::size_t name_bytes = padded(note.n_namesz);
    if (name_bytes > notes.size() || note.n_descsz > notes.size() - name_bytes) return {};
    const std::string_view name(reinterpret_cast<const char*>(notes.data()), note.n_namesz);
    if (note.n_type == NT_GNU_BUILD_ID && name == std::string_view("GNU\0", 4) && note.n_descsz > 0 &&
        note.n_descsz <= kMostBuildIdBytes) {
      return base::to_hex(notes.subspan(name_bytes, note.n_descsz));
    }
    notes = notes.subspan(std::min(notes.size(), name_bytes + padded(note.n_descsz)));
  }
  return {};
}

/// Both word sizes have the same fields under the same names.
template <class Header, class Segment>
ElfFile read_segments(const base::FileDescriptor& file) {
  ElfFile elf;
  Header header;
  if (!read_value(file, 0, header)) return elf;
  elf.for_this_machine =
      header.e_ident[EI_CLASS] == kHostClass && (kHostMachine == EM_NONE || header.e_machine == kHostMachine);
  if (header.e_phentsize != sizeof(Segment)) return elf;
  for (std::uint64_t i = 0; i < header.e_phnum && elf.build_id.empty(); ++i) {
    Segment segment;
    const std::uint64_t offset = header.e_phoff + i * sizeof(Segment);
    if (offset < header.e_phoff || !read_value(file, offset, segment)) return elf;
    if (segment.p_type != PT_NOTE || segment.p_filesz > kMostNoteBytes) continue;
    std::vector<std::byte> notes(static_cast<std::size_t>(segment.p_filesz));
    if (!read_at(file, segment.p_offset, notes)) continue;
    elf.build_id = find_build_id(notes, segment.p_align == 8 ? 8 : 4);
  }
  return elf;
}

}  // namespace

std::optional<ElfFile> read_elf(const std::filesystem::path& path) {
  // O_NONBLOCK: a pipe of that name must not make us wait.
  const base::FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status{};
  if (!file.valid() || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
  std::array<unsigned char, EI_NIDENT> ident{};
  if (!read_value(file, 0, ident) || std::memcmp(ident.data(), ELFMAG, SELFMAG) != 0) return std::nullopt;
  if (ident[EI_DATA] != kHostOrder) return ElfFile{};
  if (ident[EI_CLASS] == ELFCLASS64) return read_segments<Elf64_Ehdr, Elf64_Phdr>(file);
  if (ident[EI_CLASS] == ELFCLASS32) return read_segments<Elf32_Ehdr, Elf32_Phdr>(file);
  return std::nullopt;
}

}  // namespace kiln::jit
