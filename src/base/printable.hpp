#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <string>
#include <string_view>

namespace kiln::base {

/// Text from a file, fit for a message: short, and without bytes that upset a terminal or a log.
inline std::string printable(std::string_view text, std::size_t most_bytes = 60) {
  std::string out;
  for (const char c : text.substr(0, most_bytes)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte >= 0x7f) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  if (text.size() > most_bytes) out += "...";
  return out;
}

}  // namespace kiln::base
