#pragma once

#include "cuda/driver.hpp"

#include <cstdint>
#include <memory>

struct CUgraph_st;
struct CUgraphExec_st;

namespace kiln::cuda {

/// Work that was captured, ready to be launched any number of times.
class Graph {
 public:
  ~Graph();
  Graph(Graph&& other) noexcept;
  Graph& operator=(Graph&& other) noexcept;

  void launch(Stream stream) const;

 private:
  friend class StreamCapture;
  Graph(std::shared_ptr<const Driver> driver, CUgraphExec_st* graph);
  std::shared_ptr<const Driver> driver_;
  CUgraphExec_st* graph_ = nullptr;
};

/// Which calls the driver forbids while the capture runs: unsafe ones of any thread, of this thread,
/// or none.
enum class CaptureMode : std::uint8_t { global, this_thread, relaxed };

/// Captures a stream from its making until finish(). Dropped unfinished, it discards what it has.
class StreamCapture {
 public:
  StreamCapture(std::shared_ptr<const Driver> driver, Stream stream, CaptureMode mode = CaptureMode::global);
  ~StreamCapture();
  StreamCapture(const StreamCapture&) = delete;
  StreamCapture& operator=(const StreamCapture&) = delete;

  /// Ends the capture. Once.
  Graph finish();

 private:
  std::shared_ptr<const Driver> driver_;
  Stream stream_ = nullptr;
  bool open_ = false;
};

}  // namespace kiln::cuda
