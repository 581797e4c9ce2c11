#pragma once

#include "cache/disk_store.hpp"
#include "cli/commands.hpp"

#include <string_view>
#include <vector>

namespace kiln::cli {

/// Lists good kernels by name, damaged files last.
void list(const Common& common, std::vector<cache::StoredFile> files);
/// Names the damaged ones, which make it ExitCode::wrong.
ExitCode verify(const Common& common, const std::vector<cache::StoredFile>& files, std::string_view noun);

}  // namespace kiln::cli
