#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace kiln::base {

/// A number as files have it on every machine: its lowest byte first.
template <std::size_t kBytes>
std::array<std::byte, kBytes> to_little_endian(std::uint64_t value) {
  std::array<std::byte, kBytes> bytes{};
  for (std::size_t i = 0; i < kBytes; ++i) bytes[i] = static_cast<std::byte>(value >> (8 * i));
  return bytes;
}

/// At most eight bytes.
inline std::uint64_t from_little_endian(std::span<const std::byte> bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = bytes.size(); i-- > 0;) value = value << 8 | std::to_integer<std::uint64_t>(bytes[i]);
  return value;
}

}  // namespace kiln::base
