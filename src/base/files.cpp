#include "base/files.hpp"

#include "base/fail.hpp"
#include "base/file_descriptor.hpp"

#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <system_error>

namespace kiln::base {
namespace {

std::string reason(int error) { return std::generic_category().message(error); }

/// A new file beside `path`, so that the rename stays within one file system.
FileDescriptor open_beside(const std::filesystem::path& path, std::filesystem::path& temporary) {
  constexpr int kAttempts = 100;  // left over by dead processes that had our id, or other threads at work
  for (int attempt = 0;; ++attempt) {
    temporary = path;
    temporary += fmt::format(".tmp-{}-{}", ::getpid(), attempt);
    FileDescriptor file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666));
    if (file.valid()) return file;
    if (errno != EEXIST || attempt == kAttempts) {
      fail(ErrorCode::io, "cannot write {}: {}", path.string(), reason(errno));
    }
  }
}

/// 0, or the errno of what failed.
int write_all(FileDescriptor& file, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(file.get(), text.data(), text.size());
    if (written < 0 && errno != EINTR) return errno;
    if (written > 0) text.remove_prefix(static_cast<std::size_t>(written));
  }
  if (::fsync(file.get()) != 0) return errno;
  return file.close() == 0 ? 0 : errno;
}

}  // namespace

std::string read_file(const std::filesystem::path& path, std::size_t most_bytes) {
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) fail(ErrorCode::io, "cannot read {}: {}", path.string(), reason(errno));
  std::string text;
  constexpr std::size_t kStep = std::size_t{64} << 10;
  for (;;) {
    const std::size_t have = text.size();
    text.resize(have + kStep);
    const ssize_t got = ::read(file.get(), text.data() + have, kStep);
    if (got < 0 && errno != EINTR) fail(ErrorCode::io, "cannot read {}: {}", path.string(), reason(errno));
    text.resize(have + static_cast<std::size_t>(got > 0 ? got : 0));
    if (got == 0) return text;
    if (text.size() > most_bytes) fail(ErrorCode::io, "{} is larger than {} bytes", path.string(), most_bytes);
  }
}

void write_file_atomic(const std::filesystem::path& path, std::string_view text) {
  std::filesystem::path temporary;
  FileDescriptor file = open_beside(path, temporary);
  int error = write_all(file, text);
  if (error == 0 && std::rename(temporary.c_str(), path.c_str()) != 0) error = errno;
  if (error == 0) return;
  ::unlink(temporary.c_str());
  fail(ErrorCode::io, "cannot write {}: {}", path.string(), reason(error));
}

}  // namespace kiln::base
