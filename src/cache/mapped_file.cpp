#include "cache/mapped_file.hpp"

#include <cerrno>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

namespace kiln::cache {

MappedFile map_file(const std::filesystem::path& path, Trust trust) {
  // Without O_NONBLOCK a named pipe would hold us for ever.
  const base::FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!file.valid()) return {.error = {errno, "open"}};
  struct stat info{};
  if (::fstat(file.get(), &info) != 0) return {.error = {errno, "stat"}};
  if (!S_ISREG(info.st_mode)) return {.refused = "is not a regular file"};
  if (auto reason = distrust(info, trust); !reason.empty()) return {.refused = std::move(reason)};
  const auto size = static_cast<std::size_t>(info.st_size);
  if (size == 0) return {};
  // All of it is read soon, to verify it.
  void* const start = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file.get(), 0);
  if (start == MAP_FAILED) return {.error = {errno, "map"}};
  return {.bytes = {static_cast<const std::byte*>(start), size},
          .keeper = {start, [size](void* mapped) { ::munmap(mapped, size); }}};
}

}  // namespace kiln::cache
