#include "cuda/device_memory.hpp"

#include "base/fail.hpp"
#include "cuda/cuda_error.hpp"

#include <cstdint>
#include <utility>

namespace kiln::cuda {
namespace {

CUdeviceptr address(const void* data, std::size_t offset = 0) {
  return reinterpret_cast<std::uintptr_t>(data) + offset;
}

/// A copy to the device returns once the host memory is read, a fill at once; other streams don't wait.
void wait_for_default_stream(const DriverFunctions& functions, const char* doing) {
  check(functions.cuStreamSynchronize(nullptr), doing, functions);
}

}  // namespace

DeviceBuffer::DeviceBuffer(std::shared_ptr<const Driver> driver, std::size_t bytes)
    : driver_(std::move(driver)), bytes_(bytes) {
  if (bytes_ == 0) return;
  const DriverFunctions& functions = driver_->functions();
  CUdeviceptr allocated = 0;
  if (const CUresult result = functions.cuMemAlloc(&allocated, bytes_); result != CUDA_SUCCESS) {
    fail_cuda(result, fmt::format("allocating {} bytes of device memory", bytes_).c_str(), functions);
  }
  data_ = reinterpret_cast<void*>(static_cast<std::uintptr_t>(allocated));
}

DeviceBuffer::~DeviceBuffer() {
  if (data_ != nullptr) driver_->functions().cuMemFree(address(data_));
}

DeviceBuffer::DeviceBuffer(DeviceBuffer&& other) noexcept
    : driver_(std::move(other.driver_)),
      data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)) {}

DeviceBuffer& DeviceBuffer::operator=(DeviceBuffer&& other) noexcept {
  std::swap(driver_, other.driver_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

void DeviceBuffer::upload(std::span<const std::byte> source, std::size_t offset) {
  check_range(source.size(), offset);
  if (source.empty()) return;
  const DriverFunctions& functions = driver_->functions();
  check(functions.cuMemcpyHtoD(address(data_, offset), source.data(), source.size()), "copying to the device",
        functions);
  wait_for_default_stream(functions, "copying to the device");
}

void DeviceBuffer::download(std::span<std::byte> target, std::size_t offset) const {
  check_range(target.size(), offset);
  if (target.empty()) return;
  const DriverFunctions& functions = driver_->functions();
  check(functions.cuMemcpyDtoH(target.data(), address(data_, offset), target.size()), "copying from the device",
        functions);
}

void DeviceBuffer::fill(std::byte value) {
  if (bytes_ == 0) return;
  const DriverFunctions& functions = driver_->functions();
  check(functions.cuMemsetD8(address(data_), static_cast<unsigned char>(value), bytes_), "filling device memory",
        functions);
  wait_for_default_stream(functions, "filling device memory");
}

void DeviceBuffer::fill_async(std::byte value, Stream stream) {
  if (bytes_ == 0) return;
  const DriverFunctions& functions = driver_->functions();
  check(functions.cuMemsetD8Async(address(data_), static_cast<unsigned char>(value), bytes_, stream),
        "filling device memory", functions);
}

void DeviceBuffer::check_range(std::size_t size, std::size_t offset) const {
  if (offset > bytes_ || size > bytes_ - offset) {
    base::fail(ErrorCode::invalid_argument, "{} bytes at offset {} don't fit into a device buffer of {} bytes", size,
               offset, bytes_);
  }
}

}  // namespace kiln::cuda
