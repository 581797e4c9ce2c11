#pragma once

#include <span>
#include <string>
#include <string_view>

namespace kiln::base {

struct HashPart {
  std::string_view name;
  std::string_view value;
};

/// SHA-256, in hex, over length-prefixed names and values in the order given.
std::string hash_parts(std::span<const HashPart> parts);

}  // namespace kiln::base
