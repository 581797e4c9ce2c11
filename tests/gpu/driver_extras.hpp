#pragma once

#include <kiln/runtime.hpp>

#include <cstddef>
#include <functional>
#include <memory>

namespace kiln::cuda {
class Driver;
}

namespace kiln::test {

struct CapturedNodes {
  std::size_t kernels = 0;
  std::size_t others = 0;  ///< memsets, copies, …
};

/// What `work` puts into a graph when `stream` is captured around it. The graph is dropped.
CapturedNodes captured_nodes(const cuda::Driver& driver, Stream stream, const std::function<void()>& work);

/// A context of its own on device 0, current while this lives.
class SecondContext {
 public:
  explicit SecondContext(std::shared_ptr<const cuda::Driver> driver);
  ~SecondContext();
  SecondContext(const SecondContext&) = delete;
  SecondContext& operator=(const SecondContext&) = delete;

 private:
  std::shared_ptr<const cuda::Driver> driver_;
  void* context_ = nullptr;
};

/// The context that is current on this thread.
const void* current_context(const cuda::Driver& driver);

}  // namespace kiln::test
