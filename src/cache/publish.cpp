#include "cache/publish.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

namespace kiln::cache {
namespace {

/// A file in `folder` that nobody else has. The name is random since a process id is not unique where
/// containers or machines share the folder.
IoError create_temporary(int folder, const std::string& name, std::string& temporary, base::FileDescriptor& file) {
  constexpr int kAttempts = 8;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    std::uint64_t random = 0;
    if (::getrandom(&random, sizeof(random), 0) != static_cast<ssize_t>(sizeof(random))) return {errno, "name"};
    temporary = fmt::format("{}.{:016x}{}", name, random, kTemporarySuffix);
    file = base::FileDescriptor(
        ::openat(folder, temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (file.valid()) return {};
    if (errno != EEXIST) break;
  }
  return {errno, "create a file in"};
}

IoError write_and_rename(int folder, const std::string& temporary, base::FileDescriptor& file, const std::string& name,
                         std::span<const std::byte> bytes, PublishHook hook) {
  hook(PublishStep::created);
  if (const IoError error = write_all(file.get(), bytes)) return error;
  hook(PublishStep::written);
  if (const IoError error = sync(file.get())) return error;
  if (file.close() != 0) return {errno, "close a file in"};  // where a network file system tells of a full disk
  hook(PublishStep::synced);
  if (::renameat(folder, temporary.c_str(), folder, name.c_str()) != 0) return {errno, "rename a file in"};
  hook(PublishStep::renamed);
  return {};
}

}  // namespace

IoError publish_file(const std::filesystem::path& folder, const std::string& name, std::span<const std::byte> bytes,
                     PublishHook hook) {
  if (hook == nullptr) hook = [](PublishStep) {};
  if (const IoError error = make_folders(folder)) return error;
  const base::FileDescriptor opened(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!opened.valid()) return {errno, "open"};
  std::string temporary;
  base::FileDescriptor file;
  if (const IoError error = create_temporary(opened.get(), name, temporary, file)) return error;
  if (const IoError error = write_and_rename(opened.get(), temporary, file, name, bytes, hook)) {
    ::unlinkat(opened.get(), temporary.c_str(), 0);  // the first error is the one to tell
    return error;
  }
  const IoError error = sync(opened.get());
  hook(PublishStep::folder_synced);
  return error;
}

}  // namespace kiln::cache
