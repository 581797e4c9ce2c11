#include "base/hash_parts.hpp"
#include "cache/entry.hpp"

#include <algorithm>
#include <array>

namespace kiln::cache {
namespace {

using base::hash_parts;
using base::HashPart;

// A change of what goes into an id, or of what a field means, is a new schema.
constexpr HashPart kKernelSchema{"schema", "kiln kernel 2"};
constexpr HashPart kBuildSchema{"schema", "kiln build 1"};

}  // namespace

bool is_id(std::string_view text) {
  return text.size() == 64 &&
         std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

std::string kernel_id(std::span<const HashPart> source, std::span<const std::string> options, std::string_view target) {
  std::vector<HashPart> parts = {kKernelSchema};
  parts.insert(parts.end(), source.begin(), source.end());
  for (const std::string& option : options) parts.push_back({"option", option});
  parts.push_back({"target", target});
  return hash_parts(parts);
}

std::string build_id(std::string_view kernel_id, std::string_view compiler_identity) {
  const std::array<HashPart, 3> parts = {kBuildSchema, {"kernel", kernel_id}, {"compiler", compiler_identity}};
  return hash_parts(parts);
}

}  // namespace kiln::cache
