#pragma once

#include "cuda/device_memory.hpp"
#include "tune/gpu.hpp"

#include <functional>
#include <optional>

namespace kiln::tune {

/// What the L2 cache holds when a timed piece of work starts.
enum class L2 { as_it_is, cold };

/// Times work on the GPU. Ahead of it a kernel of about a millisecond keeps the GPU busy, so that the
/// host's launches are all queued when the work begins and don't count.
class Timer {
 public:
  /// Compiles that kernel; Error(missing_kernel) if JIT is off, Error(compile) where there is no NVRTC.
  Timer(const Gpu& gpu, const Options& options);

  /// Microseconds from the start of what `work` queues to its end. Waits for it.
  double time(const std::function<void(Stream)>& work, L2 l2);

 private:
  void keep_busy(L2 l2);

  const Gpu& gpu_;
  cuda::Module spin_;
  cuda::DeviceBuffer flush_;  ///< read from end to end, it takes the place of all else in L2; made when needed
  cuda::Event begin_;
  cuda::Event end_;
};

}  // namespace kiln::tune
