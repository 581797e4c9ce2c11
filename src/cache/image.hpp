#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace kiln::cache {

/// A kernel's binary. Copies share its bytes, which never change.
class Image {
 public:
  Image() = default;
  Image(std::vector<std::byte> bytes) {  // NOLINT(google-explicit-constructor): it is the same thing
    auto owned = std::make_shared<const std::vector<std::byte>>(std::move(bytes));
    bytes_ = *owned;
    keeper_ = std::move(owned);
  }
  /// Bytes that lie elsewhere and stay as long as `keeper` lives; null: for ever.
  Image(std::span<const std::byte> bytes, std::shared_ptr<const void> keeper)
      : bytes_(bytes), keeper_(std::move(keeper)) {}

  [[nodiscard]] std::span<const std::byte> span() const noexcept { return bytes_; }
  [[nodiscard]] const std::byte* data() const noexcept { return bytes_.data(); }
  [[nodiscard]] std::size_t size() const noexcept { return bytes_.size(); }

  bool operator==(const Image& other) const noexcept { return std::ranges::equal(bytes_, other.bytes_); }

 private:
  std::span<const std::byte> bytes_;
  std::shared_ptr<const void> keeper_;
};

}  // namespace kiln::cache
