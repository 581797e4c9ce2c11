#pragma once

#include <atomic>

namespace kiln::base {

/// Knows whether this process is still the one that it was made in, or a fork of it. Asking costs one load: the number
/// of forks is counted by a handler that the C library calls in each child (getpid() is a system call, as slow as all
/// else that a launch adds). A child made by a bare clone() is not seen.
class ForkGuard {
 public:
  ForkGuard();
  [[nodiscard]] bool forked() const noexcept { return forks_->load(std::memory_order_relaxed) != before_; }

 private:
  const std::atomic<unsigned>* forks_;
  unsigned before_;
};

}  // namespace kiln::base
