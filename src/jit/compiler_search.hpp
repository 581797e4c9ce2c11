#pragma once

#include "jit/compiler.hpp"

#include <filesystem>
#include <optional>
#include <string>

namespace kiln::jit {

/// What the search for NVRTC depends on, apart from the files themselves. Empty: not set.
struct SearchPlaces {
  std::optional<std::filesystem::path> explicit_path;
  std::string cuda_home;
  std::string cuda_path;
  std::string library_path;  ///< LD_LIBRARY_PATH
  std::string virtual_env;
  std::string conda_prefix;
  std::string home;
  std::filesystem::path root = "/";  ///< where the system's own folders are, for tests
};

/// As the environment says now.
SearchPlaces search_places(const std::optional<std::filesystem::path>& explicit_path);

/// find_compiler() with its surroundings given.
std::optional<CompilerFile> search_compiler(const SearchPlaces& places, std::string* searched);

}  // namespace kiln::jit
