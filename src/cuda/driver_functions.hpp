#pragma once

#include "base/dynamic_library.hpp"

#undef CUDA_API_PER_THREAD_DEFAULT_STREAM  // a null stream is the legacy one, whatever the build around us says
#include <cuda.h>

#include <string>

// Every entry point of libcuda in use, all of them in CUDA 12.0. cuda.h renames some by macro
// (cuMemAlloc is cuMemAlloc_v2): the list is expanded, so member, type and symbol agree.
#define KILN_CUDA_FUNCTIONS(X)         \
  X(cuInit)                            \
  X(cuGetErrorName)                    \
  X(cuGetErrorString)                  \
  X(cuDeviceGet)                       \
  X(cuDeviceGetCount)                  \
  X(cuDeviceGetName)                   \
  X(cuDeviceGetAttribute)              \
  X(cuDevicePrimaryCtxRetain)          \
  X(cuDevicePrimaryCtxRelease)         \
  X(cuCtxGetDevice)                    \
  X(cuCtxGetId)                        \
  X(cuCtxPushCurrent)                  \
  X(cuCtxPopCurrent)                   \
  X(cuCtxSynchronize)                  \
  X(cuLibraryLoadData)                 \
  X(cuLibraryUnload)                   \
  X(cuLibraryGetKernel)                \
  X(cuKernelGetFunction)               \
  X(cuKernelSetAttribute)              \
  X(cuLaunchKernelEx)                  \
  X(cuStreamCreate)                    \
  X(cuStreamDestroy)                   \
  X(cuStreamSynchronize)               \
  X(cuStreamGetId)                     \
  X(cuStreamIsCapturing)               \
  X(cuStreamBeginCapture)              \
  X(cuStreamEndCapture)                \
  X(cuThreadExchangeStreamCaptureMode) \
  X(cuMemAlloc)                        \
  X(cuMemFree)                         \
  X(cuMemGetInfo)                      \
  X(cuMemcpyHtoD)                      \
  X(cuMemcpyDtoH)                      \
  X(cuMemsetD8)                        \
  X(cuMemsetD8Async)                   \
  X(cuEventCreate)                     \
  X(cuEventDestroy)                    \
  X(cuEventRecord)                     \
  X(cuEventQuery)                      \
  X(cuEventSynchronize)                \
  X(cuGraphInstantiate)                \
  X(cuGraphLaunch)                     \
  X(cuGraphDestroy)                    \
  X(cuGraphExecDestroy)

namespace kiln::cuda {

/// The oldest driver that serves: cuLibraryLoadData came with CUDA 12.0.
inline constexpr int kOldestDriver = 12000;

/// libcuda and what is called in it. Every pointer is set.
struct DriverFunctions {
  /// Error(cuda) if the library is too old or is no libcuda.
  explicit DriverFunctions(base::DynamicLibrary opened);

  base::DynamicLibrary library;
  int version = 0;  ///< as cuDriverGetVersion: 13000

#define KILN_DECLARE(name) decltype(&::name) name = nullptr;  // NOLINT(bugprone-macro-parentheses)
  KILN_CUDA_FUNCTIONS(KILN_DECLARE)
#undef KILN_DECLARE
  /// cuda.h means cuEventElapsedTime_v2, which drivers before 12.8 lack; the plain one is everywhere.
  decltype(&::cuEventElapsedTime) event_elapsed_time = nullptr;
};

/// "12.8" for 12080.
std::string version_text(int version);

}  // namespace kiln::cuda
