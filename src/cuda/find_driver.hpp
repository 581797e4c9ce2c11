#pragma once

#include "base/dynamic_library.hpp"

#include <filesystem>
#include <optional>
#include <span>

namespace kiln::cuda {

/// Where libcuda is looked for, best first; the first is left to the loader.
std::span<const char* const> driver_candidates();

/// libcuda from `explicit_path` alone if there is one, else the first candidate that opens. It stays
/// in the process for good. Error(cuda) says where it was looked for.
base::DynamicLibrary open_driver(const std::optional<std::filesystem::path>& explicit_path,
                                 std::span<const char* const> candidates);

}  // namespace kiln::cuda
