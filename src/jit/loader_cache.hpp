#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

namespace kiln::jit {

/// Where the text of an ld.so.cache says that a soname is, best first. Nothing for a cache that is
/// damaged or of another format: it is only one of the places to look.
std::vector<std::filesystem::path> find_in_loader_cache(std::string_view cache, std::string_view soname);

}  // namespace kiln::jit
