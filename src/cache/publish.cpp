#include "cache/publish.hpp"

#include "cache/lock.hpp"

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
IoError create_temporary(int folder, const std::string& name, mode_t mode, std::string& temporary,
                         base::FileDescriptor& file) {
  constexpr int kAttempts = 8;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    std::uint64_t random = 0;
    if (::getrandom(&random, sizeof(random), 0) != static_cast<ssize_t>(sizeof(random))) return {errno, "name"};
    temporary = fmt::format("{}.{:016x}{}", name, random, kTemporarySuffix);
    file = base::FileDescriptor(
        ::openat(folder, temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
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

IoError publish_file(int folder, const std::string& name, std::span<const std::byte> bytes, mode_t mode,
                     PublishHook hook) {
  if (hook == nullptr) hook = [](PublishStep) {};
  std::string temporary;
  base::FileDescriptor file;
  if (const IoError error = create_temporary(folder, name, mode, temporary, file)) return error;
  // Where locks may hang, age alone must tell (sweep.cpp); elsewhere a file without one is only swept if it is old.
  if (is_node_local(folder)) static_cast<void>(try_lock(file.get(), kWholeTemporary));
  if (const IoError error = write_and_rename(folder, temporary, file, name, bytes, hook)) {
    ::unlinkat(folder, temporary.c_str(), 0);  // the first error is the one to tell
    return error;
  }
  const IoError error = sync(folder);
  hook(PublishStep::folder_synced);
  return error;
}

}  // namespace kiln::cache
