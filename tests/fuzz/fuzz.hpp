// What a fuzz target is made of. A target is one file with
//
//   std::vector<std::string> kiln::fuzz::seeds()                     valid inputs to begin from
//   extern "C" int LLVMFuzzerTestOneInput(const uint8_t*, size_t)    reads one input, and checks what must hold
//
// It is linked with libFuzzer, or with driver.cpp where there is none.
#pragma once

#include <kiln/error.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace kiln::fuzz {

/// A target may have none.
[[gnu::weak]] std::vector<std::string> seeds();

/// Ends the program, which makes the input a finding, unless the property holds.
inline void require(bool holds, const char* property) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", property);
  std::abort();
}

/// Whether f() came to its end. It may throw kiln::Error with a message, and nothing else.
template <class F>
bool accepts(F f) {
  try {
    f();
    return true;
  } catch (const Error& error) {
    require(*error.what() != '\0', "an error has a message");
    return false;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    require(false, "only kiln::Error is thrown");
  }
  return false;
}

inline std::string_view as_text(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace kiln::fuzz
