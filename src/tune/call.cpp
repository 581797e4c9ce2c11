#include "tune/call.hpp"

namespace kiln::tune {

Call::Call(const Gpu& gpu, KernelPtr kernel, const DeviceTensors& tensors)
    : kernel_(std::move(kernel)), tensors_(&tensors) {
  if (problem().request.kind == KernelKind::forward) return;
  workspace_ = cuda::DeviceBuffer(gpu.driver(), kernel_->workspace_bytes(tensors.decode_args(0)));
  workspace_.fill(std::byte{0});
}

void Call::launch(Stream stream, int turn) const {
  if (problem().request.kind == KernelKind::forward) {
    kernel_->launch(stream, tensors_->forward_args(turn));
    return;
  }
  DecodeArgs args = tensors_->decode_args(turn);
  args.workspace = workspace_.data();
  args.workspace_bytes = workspace_.size_bytes();
  kernel_->launch(stream, args);
}

Stopwatch::Stopwatch(const Gpu& gpu, Timer& timer, const Call& call, L2 l2) : timer_(&timer), call_(&call), l2_(l2) {
  if (call.problem().request.kind == KernelKind::forward) return;
  cuda::StreamCapture capture(gpu.driver(), gpu.stream());
  for (int i = 0; i < kDecodeCallsPerGraph; ++i) call.launch(gpu.stream(), i);
  graph_.emplace(capture.finish());
}

double Stopwatch::sample() {
  if (graph_) {
    return timer_->time([this](Stream stream) { graph_->launch(stream); }, l2_) / kDecodeCallsPerGraph;
  }
  const int turn = turn_++;
  return timer_->time([this, turn](Stream stream) { call_->launch(stream, turn); }, l2_);
}

}  // namespace kiln::tune
