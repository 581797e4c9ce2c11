#include "cuda/context.hpp"

#include "cuda/cuda_error.hpp"

#include <utility>

namespace kiln::cuda {

Context::Context(std::shared_ptr<const Driver> driver, int device) : driver_(std::move(driver)), device_(device) {
  const DriverFunctions& functions = driver_->functions();
  CUcontext context = nullptr;
  check(functions.cuDevicePrimaryCtxRetain(&context, device_), "opening a device's primary context", functions);
  if (const CUresult result = functions.cuCtxPushCurrent(context); result != CUDA_SUCCESS) {
    functions.cuDevicePrimaryCtxRelease(device_);
    fail_cuda(result, "making a context current", functions);
  }
}

Context::~Context() {
  const DriverFunctions& functions = driver_->functions();
  CUcontext popped = nullptr;
  functions.cuCtxPopCurrent(&popped);
  functions.cuDevicePrimaryCtxRelease(device_);
}

void Context::synchronize() const {
  const DriverFunctions& functions = driver_->functions();
  check(functions.cuCtxSynchronize(), "waiting for the GPU", functions);
}

Context::Memory Context::memory() const {
  const DriverFunctions& functions = driver_->functions();
  Memory memory;
  check(functions.cuMemGetInfo(&memory.free_bytes, &memory.total_bytes), "asking for free device memory", functions);
  return memory;
}

}  // namespace kiln::cuda
