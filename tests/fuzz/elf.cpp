// ELF headers: a build id is some bytes of the file, in hex.
#include "fuzz/fuzz.hpp"
#include "jit/elf_file.hpp"
#include "jit/fake_elf.hpp"

#include <sys/mman.h>
#include <unistd.h>

namespace {

/// A file in memory that keeps its path.
class MemoryFile {
 public:
  MemoryFile() : file_(::memfd_create("fuzz", MFD_CLOEXEC)), path_("/proc/self/fd/" + std::to_string(file_)) {
    kiln::fuzz::require(file_ >= 0, "there is a file in memory to write to");
  }

  const std::string& with(const std::uint8_t* data, std::size_t size) {
    const bool written = ::ftruncate(file_, 0) == 0 && ::pwrite(file_, data, size, 0) == static_cast<ssize_t>(size);
    kiln::fuzz::require(written, "the file in memory can be written");
    return path_;
  }

 private:
  int file_;
  std::string path_;
};

}  // namespace

std::vector<std::string> kiln::fuzz::seeds() {
  const std::string notes = test::note("Kiln", "another") + test::note(test::kGnu, "0123456789abcdef0123");
  return {test::fake_elf(notes), test::fake_elf<Elf32_Ehdr, Elf32_Phdr>(notes),
          test::fake_elf(notes, test::kOtherMachine)};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kiln;
  static MemoryFile file;
  const auto elf = jit::read_elf(file.with(data, size));
  if (!elf) return 0;
  const std::string& id = elf->build_id;
  fuzz::require(id.size() % 2 == 0 && id.size() <= 128, "a build id is 64 bytes at most");
  std::string bytes;
  for (std::size_t i = 0; i < id.size(); i += 2) bytes += static_cast<char>(std::stoi(id.substr(i, 2), nullptr, 16));
  fuzz::require(fuzz::as_text(data, size).find(bytes) != std::string_view::npos, "a build id stands in the file");
  return 0;
}
