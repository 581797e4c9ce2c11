#pragma once

#include <kiln/export.h>

#define KILN_VERSION_MAJOR 0
#define KILN_VERSION_MINOR 1
#define KILN_VERSION_PATCH 0

namespace kiln {

/// The version of the library that runs, "MAJOR.MINOR.PATCH".
KILN_API const char* version() noexcept;

}  // namespace kiln
