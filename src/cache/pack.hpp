#pragma once

#include "cache/entry.hpp"

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kiln::cache {

/// The bytes of docs/CACHE.md: index and entries in the order of their kernel ids, so that equal kernels give equal
/// packs; compile times are left out for the same reason. Error(invalid_argument) if a kernel is there twice.
std::vector<std::byte> encode_pack(std::vector<Entry> entries);

/// Many kernels in one piece, which is verified once and read in place. Copies share it.
class Pack {
 public:
  /// Verifies all of it. Empty, with the reason in `why`, for anything that encode_pack() did not write. The bytes
  /// must not change; `keeper` keeps them, null if they stay for ever.
  static std::optional<Pack> open(std::span<const std::byte> bytes, std::shared_ptr<const void> keeper,
                                  std::string& why);

  /// Kernels, in the order of their ids.
  [[nodiscard]] std::size_t size() const;
  [[nodiscard]] Entry at(std::size_t index) const;
  /// What the kernel's entry takes of the pack.
  [[nodiscard]] std::size_t bytes_at(std::size_t index) const;
  [[nodiscard]] std::optional<Entry> find_kernel(std::string_view kernel_id) const;

 private:
  Pack(std::span<const std::byte> bytes, std::shared_ptr<const void> keeper)
      : bytes_(bytes), keeper_(std::move(keeper)) {}
  /// Empty, with the reason in `why`, if somebody has changed the bytes since.
  [[nodiscard]] std::optional<Entry> read(std::size_t index, std::string& why) const;
  /// Why a kernel of those behind `end` is not as encode_pack() has it; if it is, empty, and `end` is its own.
  [[nodiscard]] std::string refuse_kernel(std::size_t index, std::size_t& end) const;

  std::span<const std::byte> bytes_;
  std::shared_ptr<const void> keeper_;
};

}  // namespace kiln::cache
