#pragma once

#include "cuda/driver_functions.hpp"

namespace kiln::cuda {

/// throw Error(cuda): "<doing>: CUDA_ERROR_X (n): <the driver's words>", then what to do about it.
[[noreturn]] void fail_cuda(CUresult result, const char* doing, const DriverFunctions& functions);

/// fail_cuda unless the call went well. `doing` ends a sentence's beginning: "allocating device memory".
inline void check(CUresult result, const char* doing, const DriverFunctions& functions) {
  if (result != CUDA_SUCCESS) fail_cuda(result, doing, functions);
}

}  // namespace kiln::cuda
