// Start-up, errors, devices and contexts.
#include "fake_cuda/state.hpp"

#include <cstdio>

using fake_cuda::Context;
using fake_cuda::enter;
using fake_cuda::State;

namespace {

struct ErrorText {
  CUresult result;
  const char* name;
  const char* text;
};

#define FAKE_ERROR(name, text) {name, #name, text}
constexpr ErrorText kErrors[] = {
    FAKE_ERROR(CUDA_SUCCESS, "no error"),
    FAKE_ERROR(CUDA_ERROR_INVALID_VALUE, "invalid argument"),
    FAKE_ERROR(CUDA_ERROR_OUT_OF_MEMORY, "out of memory"),
    FAKE_ERROR(CUDA_ERROR_NOT_INITIALIZED, "initialization error"),
    FAKE_ERROR(CUDA_ERROR_DEINITIALIZED, "driver shutting down"),
    FAKE_ERROR(CUDA_ERROR_STUB_LIBRARY, "CUDA driver is a stub library"),
    FAKE_ERROR(CUDA_ERROR_NO_DEVICE, "no CUDA-capable device is detected"),
    FAKE_ERROR(CUDA_ERROR_INVALID_DEVICE, "invalid device ordinal"),
    FAKE_ERROR(CUDA_ERROR_INVALID_IMAGE, "device kernel image is invalid"),
    FAKE_ERROR(CUDA_ERROR_INVALID_CONTEXT, "invalid device context"),
    FAKE_ERROR(CUDA_ERROR_NO_BINARY_FOR_GPU, "no kernel image is available for execution on the device"),
    FAKE_ERROR(CUDA_ERROR_INVALID_HANDLE, "invalid resource handle"),
    FAKE_ERROR(CUDA_ERROR_ILLEGAL_STATE, "the operation cannot be performed in the present state"),
    FAKE_ERROR(CUDA_ERROR_NOT_FOUND, "named symbol not found"),
    FAKE_ERROR(CUDA_ERROR_ILLEGAL_ADDRESS, "an illegal memory access was encountered"),
    FAKE_ERROR(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "too many resources requested for launch"),
    FAKE_ERROR(CUDA_ERROR_LAUNCH_FAILED, "unspecified launch failure"),
    FAKE_ERROR(CUDA_ERROR_CONTEXT_IS_DESTROYED, "context is destroyed"),
    FAKE_ERROR(CUDA_ERROR_SYSTEM_NOT_READY, "system not yet initialized"),
    FAKE_ERROR(CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, "system has unsupported display driver / cuda driver combination"),
    FAKE_ERROR(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "operation not permitted when stream is capturing"),
    FAKE_ERROR(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "operation failed due to a previous error during capture"),
    FAKE_ERROR(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, "operation would make the legacy stream depend on a capturing one"),
    FAKE_ERROR(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD,
               "attempt to terminate a thread-local capture from another thread"),
    FAKE_ERROR(CUDA_ERROR_UNKNOWN, "unknown error"),
};
#undef FAKE_ERROR

const ErrorText* find_error(CUresult result) {
  for (const ErrorText& error : kErrors) {
    if (error.result == result) return &error;
  }
  return nullptr;
}

CUresult read_attribute(const FakeDevice& device, CUdevice_attribute attribute, int& value) {
  switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
      value = device.capability / 10;
      return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
      value = device.capability % 10;
      return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
      value = device.sm_count;
      return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN:
      value = device.smem_per_block;
      return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR:
      value = device.smem_per_sm;
      return CUDA_SUCCESS;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}

}  // namespace

extern "C" {

CUresult cuInit(unsigned flags) {
  return enter(
      "cuInit",
      [&](State& all) {
        if (flags != 0) return CUDA_ERROR_INVALID_VALUE;
        if (all.devices.empty()) return CUDA_ERROR_NO_DEVICE;
        all.initialized = true;
        return CUDA_SUCCESS;
      },
      false);
}

CUresult cuDriverGetVersion(int* version) {
  return enter(
      "cuDriverGetVersion",
      [&](State& all) {
        *version = all.version;
        return CUDA_SUCCESS;
      },
      false);
}

CUresult cuGetErrorName(CUresult result, const char** name) {
  const ErrorText* error = find_error(result);
  *name = error != nullptr ? error->name : nullptr;
  return error != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuGetErrorString(CUresult result, const char** text) {
  const ErrorText* error = find_error(result);
  *text = error != nullptr ? error->text : nullptr;
  return error != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuDeviceGetCount(int* count) {
  return enter("cuDeviceGetCount", [&](State& all) {
    *count = static_cast<int>(all.devices.size());
    return CUDA_SUCCESS;
  });
}

CUresult cuDeviceGet(CUdevice* device, int ordinal) {
  return enter("cuDeviceGet", [&](State& all) {
    if (all.device(ordinal) == nullptr) return CUDA_ERROR_INVALID_DEVICE;
    *device = ordinal;
    return CUDA_SUCCESS;
  });
}

CUresult cuDeviceGetName(char* name, int length, CUdevice device) {
  return enter("cuDeviceGetName", [&](State& all) {
    const FakeDevice* found = all.device(device);
    if (found == nullptr) return CUDA_ERROR_INVALID_DEVICE;
    std::snprintf(name, static_cast<std::size_t>(length), "%s", found->name);
    return CUDA_SUCCESS;
  });
}

CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice device) {
  return enter("cuDeviceGetAttribute", [&](State& all) {
    const FakeDevice* found = all.device(device);
    return found == nullptr ? CUDA_ERROR_INVALID_DEVICE : read_attribute(*found, attribute, *value);
  });
}

CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) {
  return enter("cuDevicePrimaryCtxRetain", [&](State& all) {
    if (all.device(device) == nullptr) return CUDA_ERROR_INVALID_DEVICE;
    for (auto& [handle, existing] : all.contexts) {
      if (existing.device != device || existing.retained == 0) continue;
      ++existing.retained;
      *context = reinterpret_cast<CUcontext>(handle);
      return CUDA_SUCCESS;
    }
    *context = static_cast<CUcontext>(all.contexts.make({.device = device, .retained = 1}));
    return CUDA_SUCCESS;
  });
}

CUresult cuDevicePrimaryCtxRelease(CUdevice device) {
  return enter("cuDevicePrimaryCtxRelease", [&](State& all) {
    for (auto& [handle, existing] : all.contexts) {
      if (existing.device != device || existing.retained == 0) continue;
      if (--existing.retained == 0) all.contexts.erase(reinterpret_cast<void*>(handle));
      return CUDA_SUCCESS;
    }
    return CUDA_ERROR_INVALID_CONTEXT;
  });
}

CUresult cuCtxGetDevice(CUdevice* device) {
  return enter("cuCtxGetDevice", [&](State& all) {
    const Context* current = all.current();
    if (current == nullptr) return all.no_context();
    *device = current->device;
    return CUDA_SUCCESS;
  });
}

CUresult cuCtxPushCurrent(CUcontext context) {
  return enter("cuCtxPushCurrent", [&](State& all) {
    if (all.contexts.find(context) == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
    all.thread().contexts.push_back(context);
    return CUDA_SUCCESS;
  });
}

/// The fake gives no handle out twice.
CUresult cuCtxGetId(CUcontext context, unsigned long long* id) {
  return enter("cuCtxGetId", [&](State& all) {
    if (context == nullptr && all.current() == nullptr) return all.no_context();
    if (context == nullptr) context = all.current_handle();
    if (all.contexts.find(context) == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
    *id = reinterpret_cast<std::uintptr_t>(context);
    return CUDA_SUCCESS;
  });
}

CUresult cuCtxPopCurrent(CUcontext* context) {
  return enter("cuCtxPopCurrent", [&](State& all) {
    if (all.thread().contexts.empty()) return CUDA_ERROR_INVALID_CONTEXT;
    *context = all.current_handle();
    all.thread().contexts.pop_back();
    return CUDA_SUCCESS;
  });
}

CUresult cuCtxSynchronize() {
  return enter("cuCtxSynchronize",
               [](State& all) { return all.current() == nullptr ? all.no_context() : fake_cuda::unsafe_call(all); });
}

}  // extern "C"
