#include "base/fork_guard.hpp"

#include <new>
#include <pthread.h>

namespace kiln::base {
namespace {

/// How many forks lie between the program's start and this process: all that Kiln has for a whole process.
const std::atomic<unsigned>& forks() {
  static std::atomic<unsigned> count = 0;
  static const bool counted =
      pthread_atfork(nullptr, nullptr, [] { count.fetch_add(1, std::memory_order_relaxed); }) == 0;
  if (!counted) throw std::bad_alloc();
  return count;
}

}  // namespace

ForkGuard::ForkGuard() : forks_(&forks()), before_(forks_->load(std::memory_order_relaxed)) {}

}  // namespace kiln::base
