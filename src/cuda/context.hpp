#pragma once

#include "cuda/driver.hpp"

#include <cstddef>
#include <memory>

namespace kiln::cuda {

/// Keeps a device's primary context alive and current on this thread for its scope; then what was
/// current before is so again. For the tool, the tuner and tests: a Runtime never makes a context.
class Context {
 public:
  Context(std::shared_ptr<const Driver> driver, int device);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  /// Waits for all work of the context.
  void synchronize() const;

  struct Memory {
    std::size_t free_bytes = 0;
    std::size_t total_bytes = 0;
  };
  [[nodiscard]] Memory memory() const;

 private:
  std::shared_ptr<const Driver> driver_;
  int device_ = 0;
};

}  // namespace kiln::cuda
