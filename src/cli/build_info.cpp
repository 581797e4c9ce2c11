#include "cli/build_info.hpp"

#ifndef KILN_COMMIT
#define KILN_COMMIT "unknown"
#endif

namespace kiln::cli {

const char* build_commit() noexcept { return KILN_COMMIT; }

}  // namespace kiln::cli
