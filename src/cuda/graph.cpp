#include "cuda/graph.hpp"

#include "cuda/cuda_error.hpp"

#include <utility>

namespace kiln::cuda {
namespace {

CUstreamCaptureMode driver_mode(CaptureMode mode) {
  switch (mode) {
    case CaptureMode::global:
      return CU_STREAM_CAPTURE_MODE_GLOBAL;
    case CaptureMode::this_thread:
      return CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
    case CaptureMode::relaxed:
      break;
  }
  return CU_STREAM_CAPTURE_MODE_RELAXED;
}

}  // namespace

Graph::Graph(std::shared_ptr<const Driver> driver, CUgraphExec_st* graph) : driver_(std::move(driver)), graph_(graph) {}

Graph::~Graph() {
  if (graph_ != nullptr) driver_->functions().cuGraphExecDestroy(graph_);
}

Graph::Graph(Graph&& other) noexcept
    : driver_(std::move(other.driver_)), graph_(std::exchange(other.graph_, nullptr)) {}

Graph& Graph::operator=(Graph&& other) noexcept {
  std::swap(driver_, other.driver_);
  std::swap(graph_, other.graph_);
  return *this;
}

void Graph::launch(Stream stream) const {
  const DriverFunctions& functions = driver_->functions();
  check(functions.cuGraphLaunch(graph_, stream), "launching a graph", functions);
}

StreamCapture::StreamCapture(std::shared_ptr<const Driver> driver, Stream stream, CaptureMode mode)
    : driver_(std::move(driver)), stream_(stream) {
  const DriverFunctions& functions = driver_->functions();
  check(functions.cuStreamBeginCapture(stream_, driver_mode(mode)), "beginning a stream's capture", functions);
  open_ = true;
}

StreamCapture::~StreamCapture() {
  if (!open_) return;
  const DriverFunctions& functions = driver_->functions();
  CUgraph discarded = nullptr;
  functions.cuStreamEndCapture(stream_, &discarded);
  if (discarded != nullptr) functions.cuGraphDestroy(discarded);
}

Graph StreamCapture::finish() {
  const DriverFunctions& functions = driver_->functions();
  open_ = false;
  CUgraph captured = nullptr;
  check(functions.cuStreamEndCapture(stream_, &captured), "ending a stream's capture", functions);
  CUgraphExec ready = nullptr;
  const CUresult result = functions.cuGraphInstantiate(&ready, captured, 0);
  functions.cuGraphDestroy(captured);
  check(result, "making a captured graph ready", functions);
  return {driver_, ready};
}

}  // namespace kiln::cuda
