#pragma once

#include "api/loaded_kernel.hpp"
#include "cuda/graph.hpp"
#include "tune/device_tensors.hpp"
#include "tune/timer.hpp"

#include <memory>
#include <optional>

namespace kiln::tune {

using KernelPtr = std::shared_ptr<const detail::LoadedKernel>;

/// A kernel together with the tensors it works on and a workspace of its own. The tensors outlive it.
class Call {
 public:
  Call(const Gpu& gpu, KernelPtr kernel, const DeviceTensors& tensors);

  /// Queues one call that uses the tensors' copy `turn`.
  void launch(Stream stream, int turn) const;
  [[nodiscard]] const Problem& problem() const { return tensors_->problem(); }
  [[nodiscard]] const DeviceTensors& tensors() const { return *tensors_; }

 private:
  KernelPtr kernel_;
  const DeviceTensors* tensors_;
  cuda::DeviceBuffer workspace_;
};

/// Measures one call again and again. A forward call is timed alone; decode calls, which may take less
/// time than a launch, ten in a row out of a graph, each with keys and values of its own.
class Stopwatch {
 public:
  Stopwatch(const Gpu& gpu, Timer& timer, const Call& call, L2 l2);

  /// Microseconds of one call.
  double sample();

 private:
  Timer* timer_;
  const Call* call_;
  L2 l2_;
  int turn_ = 0;
  std::optional<cuda::Graph> graph_;
};

/// Calls in the graph of a decode measurement, and so the copies worth having.
inline constexpr int kDecodeCallsPerGraph = 10;

}  // namespace kiln::tune
