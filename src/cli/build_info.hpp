#pragma once

namespace kiln::cli {

/// The commit that the build was configured at, "unknown" outside a repository.
const char* build_commit() noexcept;

}  // namespace kiln::cli
