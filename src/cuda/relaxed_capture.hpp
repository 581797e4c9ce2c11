#pragma once

#include "cuda/cuda_error.hpp"

namespace kiln::cuda {

/// Lets the calling thread make calls, for its scope, that the driver forbids while a stream is being captured: loading
/// kernels, asking for events.
class RelaxedCapture {
 public:
  explicit RelaxedCapture(const DriverFunctions& functions) : functions_(functions) {
    check(functions_.cuThreadExchangeStreamCaptureMode(&mode_), "relaxing the thread's capture mode", functions_);
  }
  ~RelaxedCapture() { functions_.cuThreadExchangeStreamCaptureMode(&mode_); }
  RelaxedCapture(const RelaxedCapture&) = delete;
  RelaxedCapture& operator=(const RelaxedCapture&) = delete;

 private:
  const DriverFunctions& functions_;
  CUstreamCaptureMode mode_ = CU_STREAM_CAPTURE_MODE_RELAXED;
};

}  // namespace kiln::cuda
