#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

namespace kiln::test {

/// What the program's command line says about the soak.
struct SoakOptions {
  std::chrono::seconds time{0};         ///< --soak=<seconds>: 0 skips it
  std::optional<std::uint64_t> only{};  ///< --soak_case=<seed>: this case alone
};
SoakOptions& soak_options();

}  // namespace kiln::test
