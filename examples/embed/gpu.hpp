#pragma once

#include <cuda.h>

#include <cstddef>
#include <stdexcept>
#include <string>

/// What an engine has of its own: a context, a stream and memory. Kiln makes none of them.

inline void check(CUresult result, const char* call) {
  if (result == CUDA_SUCCESS) return;
  const char* name = nullptr;
  cuGetErrorName(result, &name);
  throw std::runtime_error(std::string(call) + ": " + (name != nullptr ? name : "unknown error"));
}

/// The primary context of a device, current on this thread: the one that the CUDA runtime uses too.
class Context {
 public:
  explicit Context(int ordinal) {
    check(cuInit(0), "cuInit");
    check(cuDeviceGet(&device_, ordinal), "cuDeviceGet");
    CUcontext context = nullptr;
    check(cuDevicePrimaryCtxRetain(&context, device_), "cuDevicePrimaryCtxRetain");
    check(cuCtxSetCurrent(context), "cuCtxSetCurrent");
  }
  ~Context() { cuDevicePrimaryCtxRelease(device_); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

 private:
  CUdevice device_ = 0;
};

class Stream {
 public:
  Stream() { check(cuStreamCreate(&stream_, CU_STREAM_NON_BLOCKING), "cuStreamCreate"); }
  ~Stream() { cuStreamDestroy(stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  [[nodiscard]] CUstream get() const { return stream_; }
  void synchronize() const { check(cuStreamSynchronize(stream_), "cuStreamSynchronize"); }

 private:
  CUstream stream_ = nullptr;
};

/// Device memory, zeroed.
class Buffer {
 public:
  explicit Buffer(std::size_t bytes) : bytes_(bytes) {
    if (bytes == 0) return;
    check(cuMemAlloc(&address_, bytes), "cuMemAlloc");
    check(cuMemsetD8(address_, 0, bytes), "cuMemsetD8");
  }
  ~Buffer() {
    if (address_ != 0) cuMemFree(address_);
  }
  Buffer(Buffer&& other) noexcept : address_(other.address_), bytes_(other.bytes_) { other.address_ = 0; }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  [[nodiscard]] CUdeviceptr address() const { return address_; }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }
  template <class T = void>
  [[nodiscard]] T* as() const {
    return reinterpret_cast<T*>(address_);
  }

 private:
  CUdeviceptr address_ = 0;
  std::size_t bytes_ = 0;
};
