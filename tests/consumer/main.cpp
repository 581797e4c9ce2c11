#include <kiln/kiln.h>
#include <kiln/kiln.hpp>

#include <fmt/format.h>

#include <vector>

// Uses the library and its own fmt; also takes an exception of the library's across the boundary.
int main() {
  try {
    (void)kiln::Options::from_json(R"({"no_such_option": 1})");
  } catch (const kiln::Error& error) {
    const std::vector<std::string_view> words = {kiln::version(), kiln_version(), kiln::to_string(error.code())};
    fmt::print("{}\n", fmt::join(words, " "));
    return 0;
  }
  return 1;
}
