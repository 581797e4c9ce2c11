#pragma once

#include <cstdint>
#include <string_view>

namespace kiln::base {

/// "300", "64K", "500M", "2G" (powers of 1024, small letters too). Error(invalid_argument) that begins with `where`.
std::uint64_t parse_bytes(std::string_view text, std::string_view where);

}  // namespace kiln::base
