#include "fake_cuda/cubin.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <elf.h>

namespace fake_cuda {
namespace {

// Records of a .nv.info.<kernel> section: format, attribute, then a 16-bit value or size.
constexpr unsigned char kSizedFormat = 0x04;
constexpr unsigned char kParamInfo = 0x17;   // one for each parameter
constexpr unsigned char kParamBytes = 0x19;  // of all together
constexpr unsigned char kTargetInSecondByte = 8;

template <class T>
T read(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

struct Elf {
  explicit Elf(const void* image) : bytes(static_cast<const std::byte*>(image)), header(read<Elf64_Ehdr>(bytes)) {}

  [[nodiscard]] Elf64_Shdr section(std::size_t index) const {
    return read<Elf64_Shdr>(bytes + header.e_shoff + index * header.e_shentsize);
  }
  [[nodiscard]] std::optional<Elf64_Shdr> find(const std::string& name) const {
    const auto* names = reinterpret_cast<const char*>(bytes) + section(header.e_shstrndx).sh_offset;
    for (std::size_t i = 0; i < header.e_shnum; ++i) {
      if (const Elf64_Shdr found = section(i); names + found.sh_name == name) return found;
    }
    return std::nullopt;
  }

  const std::byte* bytes;
  Elf64_Ehdr header;
};

/// Bytes of a kernel's parameter, 0 unless it has exactly one.
std::size_t only_param_bytes(const std::byte* info, std::size_t size) {
  std::size_t params = 0;
  std::size_t params_bytes = 0;
  for (std::size_t at = 0; at + 4 <= size;) {
    const auto format = read<unsigned char>(info + at);
    const auto attribute = read<unsigned char>(info + at + 1);
    const auto value = read<std::uint16_t>(info + at + 2);
    if (attribute == kParamInfo) ++params;
    if (attribute == kParamBytes) params_bytes = value;
    at += 4u + (format == kSizedFormat ? value : 0u);
  }
  return params == 1 ? params_bytes : 0;
}

}  // namespace

std::size_t elf_bytes(const void* image) {
  if (std::memcmp(image, ELFMAG, SELFMAG) != 0) return 0;
  const Elf elf(image);
  if (elf.header.e_shnum == 0) return 0;
  std::size_t end = elf.header.e_shoff + std::size_t{elf.header.e_shnum} * elf.header.e_shentsize;
  end = std::max<std::size_t>(end, elf.header.e_phoff + std::size_t{elf.header.e_phnum} * elf.header.e_phentsize);
  for (std::size_t i = 0; i < elf.header.e_shnum; ++i) {
    const Elf64_Shdr section = elf.section(i);
    if (section.sh_type != SHT_NOBITS) end = std::max<std::size_t>(end, section.sh_offset + section.sh_size);
  }
  return end;
}

std::optional<CubinKernel> find_kernel(const void* image, const std::string& name) {
  const Elf elf(image);
  if (!elf.find(".text." + name)) return std::nullopt;
  CubinKernel kernel;
  const unsigned flags = elf.header.e_flags;
  kernel.target =
      static_cast<int>((elf.header.e_ident[EI_ABIVERSION] >= kTargetInSecondByte ? flags >> 8 : flags) & 0xffu);
  if (const auto info = elf.find(".nv.info." + name)) {
    kernel.params_bytes = only_param_bytes(elf.bytes + info->sh_offset, info->sh_size);
  }
  return kernel;
}

}  // namespace fake_cuda
