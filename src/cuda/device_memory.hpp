#pragma once

#include "cuda/driver.hpp"

#include <cstddef>
#include <memory>
#include <span>
#include <utility>

namespace kiln::cuda {

/// Device memory of the context that was current when it was made. For the tool, the tuner and
/// tests: the library itself allocates none.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  /// 0 bytes is a null pointer.
  DeviceBuffer(std::shared_ptr<const Driver> driver, std::size_t bytes);
  ~DeviceBuffer();
  DeviceBuffer(DeviceBuffer&& other) noexcept;
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept;

  /// A buffer of the values' size that holds them.
  template <class T>
  static DeviceBuffer of(std::shared_ptr<const Driver> driver, std::span<const T> values) {
    DeviceBuffer buffer(std::move(driver), values.size_bytes());
    buffer.upload(std::as_bytes(values));
    return buffer;
  }

  [[nodiscard]] void* data() const noexcept { return data_; }
  template <class T>
  [[nodiscard]] T* as() const noexcept {
    return static_cast<T*>(data_);
  }
  [[nodiscard]] std::size_t size_bytes() const noexcept { return bytes_; }

  /// Copy from and to host memory, done on return. What doesn't fit is an Error(invalid_argument).
  void upload(std::span<const std::byte> source, std::size_t offset = 0);
  void download(std::span<std::byte> target, std::size_t offset = 0) const;
  /// Sets every byte; done on return.
  void fill(std::byte value);
  /// Sets every byte in the stream's order.
  void fill_async(std::byte value, Stream stream);

 private:
  void check_range(std::size_t size, std::size_t offset) const;

  std::shared_ptr<const Driver> driver_;
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace kiln::cuda
