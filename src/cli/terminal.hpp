#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kiln::cli {

enum class Tone { plain, good, warning, bad, dim, strong };

/// What the two output streams can show. Results go to standard output, all else to standard error.
struct Terminal {
  bool colour = false;     ///< standard output is a terminal that wants it
  bool live_bars = false;  ///< standard error is a terminal: a progress line may be redrawn

  /// Looks at the streams and at NO_COLOR and TERM.
  static Terminal detect();
  /// `text` in a tone, or as it is where there is no colour.
  [[nodiscard]] std::string paint(Tone tone, std::string_view text) const;
};

/// Writes to standard output. Error(io) if that fails, e.g. for a full disk.
void print(std::string_view text);
/// Writes to standard error; a failure there has nobody to be told.
void print_error(std::string_view text);

/// Lines of at most `width` bytes, broken at blanks; a word that is longer stands alone.
std::vector<std::string> wrap(std::string_view text, std::size_t width);

/// How wide UTF-8 text without wide characters is on a terminal.
std::size_t display_width(std::string_view text);

}  // namespace kiln::cli
