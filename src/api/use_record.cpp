#include "api/use_record.hpp"

#include "base/fail.hpp"
#include "base/file_descriptor.hpp"
#include "base/files.hpp"
#include "base/json.hpp"
#include "plan/names.hpp"

#include <cerrno>
#include <fcntl.h>
#include <string_view>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace kiln::api {
namespace {

namespace fs = std::filesystem;

constexpr mode_t kMode = 0666;  // less the umask
constexpr std::size_t kMostBytes = std::size_t{64} << 20;

[[noreturn]] void fail_to_write(const fs::path& path, std::string_view reason) {
  base::fail(ErrorCode::io, "cannot write {}: {}", path.string(), reason);
}

[[noreturn]] void fail_to_write(const fs::path& path, int error) {
  fail_to_write(path, std::generic_category().message(error));
}

base::FileDescriptor open_to_add(const fs::path& path) {
  // Without O_NONBLOCK a named pipe would hold the caller until somebody reads it.
  constexpr int kFlags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  base::FileDescriptor file(::open(path.c_str(), kFlags, kMode));
  struct stat info{};
  if (!file.valid() || ::fstat(file.get(), &info) != 0) fail_to_write(path, errno);
  if (!S_ISREG(info.st_mode)) fail_to_write(path, "it is not a regular file");
  return file;
}

bool has_line(std::string_view text, std::string_view line) {
  for (std::size_t at = text.find(line); at != std::string_view::npos; at = text.find(line, at + 1)) {
    const std::size_t end = at + line.size();
    if ((at == 0 || text[at - 1] == '\n') && (end == text.size() || text[end] == '\n')) return true;
  }
  return false;
}

void write_at_once(const base::FileDescriptor& file, std::string_view text, const fs::path& path) {
  ssize_t written = -1;
  do {
    written = ::write(file.get(), text.data(), text.size());
  } while (written < 0 && errno == EINTR);
  if (written < 0) fail_to_write(path, errno);
  // The rest would be a second write, and another process's line may stand before it by now.
  if (std::cmp_not_equal(written, text.size())) fail_to_write(path, "there was room for a part of a line only");
}

void add_line(const fs::path& path, std::string_view line) {
  const auto file = open_to_add(path);
  const std::string there = base::read_file(path, kMostBytes);
  if (has_line(there, line)) return;
  const bool torn = !there.empty() && there.back() != '\n';  // by a process that died, or a full disk
  write_at_once(file, fmt::format("{}{}\n", torn ? "\n" : "", line), path);
}

/// The directory may be changed between two notes.
fs::path absolute(const std::optional<fs::path>& file) {
  if (!file || file->empty()) return {};
  std::error_code error;
  const auto path = fs::absolute(*file, error);
  return error ? *file : path;
}

}  // namespace

UseRecord::UseRecord(const std::optional<fs::path>& file, int capability, base::Logger log)
    : file_(absolute(file)), capability_(capability), log_(std::move(log)) {}

void UseRecord::note(const KernelRequest& canonical) {
  if (file_.empty()) return;
  // Not under the lock: a log callback may ask for a kernel itself.
  if (const std::string trouble = add_once(canonical); !trouble.empty()) {
    log_.warning("the kernels used are not recorded any more: {}", trouble);
  }
}

std::string UseRecord::line_of(const KernelRequest& request) const {
  base::Json::Object kernel = plan::to_json(request);
  kernel["architectures"] = base::Json::Array{capability_};
  return base::Json(std::move(kernel)).dump(true);
}

std::string UseRecord::add_once(const KernelRequest& request) {
  const std::scoped_lock lock(mutex_);
  if (failed_ || !noted_.insert(request).second) return {};
  try {
    add_line(file_, line_of(request));
    return {};
  } catch (const Error& error) {
    failed_ = true;
    return error.what();
  }
}

}  // namespace kiln::api
