// test_gpu [GoogleTest's options]                    the suite
// test_gpu --soak=<seconds>                          random forward cases with new seeds, for so long
// test_gpu --soak_case=<seed>                        one of them again
// test_gpu --soak_decode=<seconds>, --soak_decode_case=<seed>: the same of decode
#include "gpu/soak.hpp"

#include <gtest/gtest.h>

#include <charconv>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>
#include <utility>

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
  for (const auto& [prefix, tests] :
       {std::pair<std::string, const char*>{"--soak", "ForwardSoak.*"}, {"--soak_decode", "DecodeSoak.*"}}) {
    const auto seconds = value_of(argument, prefix + "=");
    const auto seed = value_of(argument, prefix + "_case=");
    if (!seconds && !seed) continue;
    if (seconds) soak.time = std::chrono::seconds(*seconds);
    if (seed) soak.only = seed;
    GTEST_FLAG_SET(filter, tests);
    return true;
  }
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  for (const char* argument : std::span(argv, static_cast<std::size_t>(argc)).subspan(1)) {
    if (understood(argument)) continue;
    std::fprintf(
        stderr,
        "%s: not an option of this program (--soak, --soak_case, --soak_decode, --soak_decode_case, GoogleTest's)\n",
        argument);
    return 2;
  }
  return RUN_ALL_TESTS();
}
