#include "cuda/cuda_error.hpp"

#include "base/fail.hpp"

namespace kiln::cuda {
namespace {

/// What a person can do about an error, where the driver's own words don't say.
const char* advice(CUresult result) {
  switch (result) {
    case CUDA_ERROR_OUT_OF_MEMORY:
      return "the GPU's memory is used up: free some, or look for another process on it with nvidia-smi";
    case CUDA_ERROR_NOT_INITIALIZED:
      return "CUDA does not survive fork(): if this process was forked after its parent had started the driver, fork "
             "before, or start it by exec (in Python: multiprocessing's spawn)";
    case CUDA_ERROR_DEINITIALIZED:
      return "the driver has shut down: the process is exiting";
    case CUDA_ERROR_STUB_LIBRARY:
      return "this is the toolkit's link stub: take its stubs folder off the library path";
    case CUDA_ERROR_NO_DEVICE:
      return "no NVIDIA GPU is visible: look at nvidia-smi, CUDA_VISIBLE_DEVICES and the container's --gpus";
    case CUDA_ERROR_DEVICE_UNAVAILABLE:
      return "the GPU is in exclusive mode and in use";
    case CUDA_ERROR_SYSTEM_NOT_READY:
      return "the GPUs are still starting: on NVSwitch machines check that nvidia-fabricmanager runs";
    case CUDA_ERROR_SYSTEM_DRIVER_MISMATCH:
      return "libcuda and the kernel module are of different versions: reboot, or reload the module after an update";
    case CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE:
      return "the forward-compatibility libcuda does not serve this GPU: update the driver or use its own libcuda";
    case CUDA_ERROR_OPERATING_SYSTEM:
      return "the operating system refused: check the permissions of /dev/nvidia*";
    case CUDA_ERROR_INVALID_CONTEXT:
    case CUDA_ERROR_CONTEXT_IS_DESTROYED:
      return "make a live context of the device current on this thread first";
    case CUDA_ERROR_INVALID_HANDLE:
      return "the stream is destroyed or belongs to another context than the current one";
    case CUDA_ERROR_NO_BINARY_FOR_GPU:
    case CUDA_ERROR_INVALID_IMAGE:
      return "the kernel was built for another GPU architecture";
    case CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES:
      return "the kernel needs more registers or shared memory than this GPU grants";
    case CUDA_ERROR_ILLEGAL_ADDRESS:
    case CUDA_ERROR_MISALIGNED_ADDRESS:
    case CUDA_ERROR_ILLEGAL_INSTRUCTION:
    case CUDA_ERROR_LAUNCH_TIMEOUT:
    case CUDA_ERROR_LAUNCH_FAILED:
      return "a kernel that ran earlier in this context failed and the context is lost: compute-sanitizer finds which";
    case CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED:
    case CUDA_ERROR_STREAM_CAPTURE_IMPLICIT:
      return "this is not allowed while a stream of the context is being captured";
    case CUDA_ERROR_STREAM_CAPTURE_INVALIDATED:
      return "an earlier call broke the capture";
    default:
      return nullptr;
  }
}

}  // namespace

void fail_cuda(CUresult result, const char* doing, const DriverFunctions& functions) {
  const char* name = nullptr;
  const char* text = nullptr;
  functions.cuGetErrorName(result, &name);
  functions.cuGetErrorString(result, &text);
  const char* what_to_do = advice(result);
  base::fail(ErrorCode::cuda, "{}: {} ({}): {}{}{}", doing, name != nullptr ? name : "unknown error",
             static_cast<int>(result), text != nullptr ? text : "no description", what_to_do != nullptr ? "; " : "",
             what_to_do != nullptr ? what_to_do : "");
}

}  // namespace kiln::cuda
