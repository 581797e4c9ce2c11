#include "base/hash_parts.hpp"

#include "base/sha256.hpp"

#include <array>
#include <cstdint>

namespace kiln::base {
namespace {

/// Its length goes first, so that no two lists of parts feed the hash the same bytes.
void update_with_length(Sha256& hash, std::string_view text) {
  std::array<std::byte, 8> length{};
  for (std::size_t i = 0; i < length.size(); ++i) {
    length[i] = static_cast<std::byte>(std::uint64_t{text.size()} >> (8 * i));
  }
  hash.update(std::span<const std::byte>(length)).update(text);
}

}  // namespace

std::string hash_parts(std::span<const HashPart> parts) {
  Sha256 hash;
  for (const HashPart& part : parts) {
    update_with_length(hash, part.name);
    update_with_length(hash, part.value);
  }
  return to_hex(hash.finish());
}

}  // namespace kiln::base
