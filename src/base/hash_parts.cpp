#include "base/hash_parts.hpp"

#include "base/little_endian.hpp"
#include "base/sha256.hpp"

namespace kiln::base {
namespace {

/// Its length goes first, so that no two lists of parts feed the hash the same bytes.
void update_with_length(Sha256& hash, std::string_view text) {
  hash.update(to_little_endian<8>(text.size())).update(text);
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
