#include "base/parse_bytes.hpp"

#include "base/fail.hpp"
#include "base/printable.hpp"

#include <charconv>
#include <limits>

namespace kiln::base {

std::uint64_t parse_bytes(std::string_view text, std::string_view where) {
  constexpr std::string_view kSuffixes = "KMG";
  constexpr unsigned kBitsPerSuffix = 10;
  std::string_view digits = text;
  unsigned shift = 0;
  if (!digits.empty()) {
    const char last =
        digits.back() >= 'a' && digits.back() <= 'z' ? static_cast<char>(digits.back() - 'a' + 'A') : digits.back();
    if (const std::size_t at = kSuffixes.find(last); at != std::string_view::npos) {
      shift = kBitsPerSuffix * (static_cast<unsigned>(at) + 1);
      digits.remove_suffix(1);
    }
  }
  std::uint64_t number = 0;
  const char* const end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, number);
  // One bit less than there are, so that the number fits JSON's integers too.
  const std::uint64_t most = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()) >> shift;
  if (error != std::errc{} || stop != end || number > most) {
    fail(ErrorCode::invalid_argument, "{}: \"{}\" is not a number of bytes such as 500000, 64K, 500M or 2G", where,
         printable(text));
  }
  return number << shift;
}

}  // namespace kiln::base
