#include "jit/log_text.hpp"

#include "jit/compiler.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace kiln::jit {
namespace {

/// Takes the next line off the text, without its end.
std::string_view next_line(std::string_view& text) {
  const std::size_t end = std::min(text.find('\n'), text.size());
  std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// The number that stands before the words: 4096 for " bytes smem" in "…, 4096 bytes smem". Else 0.
int number_before(std::string_view line, std::string_view words) {
  const std::size_t at = line.find(words);
  if (at == std::string_view::npos) return 0;
  std::size_t begin = at;
  while (begin > 0 && is_digit(line[begin - 1])) --begin;
  int number = 0;
  const auto result = std::from_chars(line.data() + begin, line.data() + at, number);
  return result.ec == std::errc() ? number : 0;
}

/// So that the sum of two such sums is still an int, whatever a log says.
void add(int& sum, int more) {
  constexpr int kMost = (1 << 30) - 1;
  sum = std::min(sum, kMost - std::min(more, kMost)) + std::min(more, kMost);
}

/// "error" or "warning" as a kind of message: `kern.cu(3): error: …`, `ptxas error   : …`, `error #20-D: …`.
bool is_message(std::string_view line, std::string_view kind) {
  for (std::size_t at = line.find(kind); at != std::string_view::npos; at = line.find(kind, at + 1)) {
    const std::size_t next = line.find_first_not_of(' ', at + kind.size());
    if (next != std::string_view::npos && (line[next] == ':' || line[next] == '#')) return true;
  }
  return false;
}

/// The function of "ptxas info    : Compiling entry function 'NAME' for 'sm_90'", or empty.
std::string_view entry_begun(std::string_view line) {
  constexpr std::string_view kWords = "Compiling entry function '";
  const std::size_t at = line.find(kWords);
  if (at == std::string_view::npos) return {};
  line.remove_prefix(at + kWords.size());
  return line.substr(0, line.find('\''));
}

}  // namespace

Resources parse_log(std::string_view log, std::string_view entry) {
  Resources resources;
  bool ours = false;  // within what ptxas says of `entry`, the functions that it calls included
  while (!log.empty()) {
    const std::string_view line = next_line(log);
    // ptxas calls wgmma that it had to serialise a mere "info".
    if (is_message(line, "warning") || contains(line, "Potential Performance Loss")) {
      resources.warnings.emplace_back(line);
    }
    if (const std::string_view begun = entry_begun(line); !begun.empty()) ours = begun == entry;
    if (!ours) continue;
    resources.registers = std::max(resources.registers, number_before(line, " registers"));
    resources.static_smem_bytes = std::max(resources.static_smem_bytes, number_before(line, " bytes smem"));
    resources.stack_bytes = std::max(resources.stack_bytes, number_before(line, " bytes stack frame"));
    add(resources.spill_store_bytes, number_before(line, " bytes spill stores"));
    add(resources.spill_load_bytes, number_before(line, " bytes spill loads"));
  }
  return resources;
}

std::string first_errors(std::string_view log) {
  constexpr int kMostLines = 5;
  constexpr std::size_t kMostLineBytes = 300;
  std::string errors;
  std::string start;
  int error_count = 0;
  int line_count = 0;
  while (!log.empty()) {
    const std::string_view line = next_line(log);
    if (line.find_first_not_of(" \t") == std::string_view::npos) continue;
    const std::string shown = "\n  " + std::string(line.substr(0, kMostLineBytes));
    if (++line_count <= kMostLines) start += shown;
    if (is_message(line, "error") && ++error_count <= kMostLines) errors += shown;
  }
  if (error_count == 0) return start;
  return error_count > kMostLines ? fmt::format("{}\n  and {} more", errors, error_count - kMostLines) : errors;
}

}  // namespace kiln::jit
