// test_gpu [GoogleTest's options]                    the suite
// test_gpu --soak=<seconds>                          random cases with new seeds, for so long
// test_gpu --soak_case=<seed>                        one of them again
#include "gpu/soak.hpp"

#include <gtest/gtest.h>

#include <charconv>
#include <cstdio>
#include <span>
#include <string_view>

namespace {

/// The number behind `option`; none if this is another argument.
std::optional<std::uint64_t> value_of(std::string_view argument, std::string_view option) {
  if (!argument.starts_with(option)) return {};
  argument.remove_prefix(option.size());
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(argument.data(), argument.data() + argument.size(), value);
  if (error != std::errc() || end != argument.data() + argument.size() || argument.empty()) return {};
  return value;
}

bool understood(std::string_view argument) {
  auto& soak = kiln::test::soak_options();
  if (const auto seconds = value_of(argument, "--soak=")) {
    soak.time = std::chrono::seconds(*seconds);
  } else if (const auto seed = value_of(argument, "--soak_case=")) {
    soak.only = seed;
  } else {
    return false;
  }
  GTEST_FLAG_SET(filter, "ForwardSoak.*");
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  for (const char* argument : std::span(argv, static_cast<std::size_t>(argc)).subspan(1)) {
    if (understood(argument)) continue;
    std::fprintf(stderr, "%s: not an option of this program (--soak=<seconds>, --soak_case=<seed>, GoogleTest's)\n",
                 argument);
    return 2;
  }
  return RUN_ALL_TESTS();
}
