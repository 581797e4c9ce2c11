#include "base/sha256.hpp"
#include "cache/entry.hpp"

#include <algorithm>
#include <array>
#include <cstdint>

namespace kiln::cache {
namespace {

// A change of what goes into an id, or of what a field means, is a new schema.
constexpr KeyPart kKernelSchema{"schema", "kiln kernel 1"};
constexpr KeyPart kBuildSchema{"schema", "kiln build 1"};

/// Its length goes first, so that no two lists of parts feed the hash the same bytes.
void update(base::Sha256& hash, std::string_view text) {
  std::array<std::byte, 8> length{};
  for (std::size_t i = 0; i < length.size(); ++i) {
    length[i] = static_cast<std::byte>(std::uint64_t{text.size()} >> (8 * i));
  }
  hash.update(std::span<const std::byte>(length)).update(text);
}

}  // namespace

std::string hash_parts(std::span<const KeyPart> parts) {
  base::Sha256 hash;
  for (const KeyPart& part : parts) {
    update(hash, part.name);
    update(hash, part.value);
  }
  return base::to_hex(hash.finish());
}

bool is_id(std::string_view text) {
  return text.size() == 64 &&
         std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

std::string kernel_id(std::string_view source, std::span<const std::string> options, std::string_view target) {
  std::vector<KeyPart> parts = {kKernelSchema, {"source", source}};
  for (const std::string& option : options) parts.push_back({"option", option});
  parts.push_back({"target", target});
  return hash_parts(parts);
}

std::string build_id(std::string_view kernel_id, std::string_view compiler_identity) {
  const std::array<KeyPart, 3> parts = {kBuildSchema, {"kernel", kernel_id}, {"compiler", compiler_identity}};
  return hash_parts(parts);
}

}  // namespace kiln::cache
