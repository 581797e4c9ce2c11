#pragma once

namespace kiln::cli {

/// While one lives, the first Ctrl-C (or SIGTERM) is only noted, so that work can end in good order;
/// the second one ends the process at once.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  [[nodiscard]] static bool interrupted() noexcept;
};

}  // namespace kiln::cli
