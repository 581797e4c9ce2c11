#include "cache/failing_close.hpp"

#include <atomic>
#include <cerrno>

namespace {
std::atomic<int> next_error = 0;
}  // namespace

// The linker's names: what calls close() calls the second, and the first is what close() was.
extern "C" int __real_close(int file);
extern "C" int __wrap_close(int file) {
  const int result = __real_close(file);
  const int error = next_error.exchange(0);
  if (error == 0) return result;
  errno = error;
  return -1;
}

void kiln::cache::fail_next_close(int error) { next_error = error; }
