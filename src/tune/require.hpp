#pragma once

#include "base/fail.hpp"

namespace kiln::tune {

/// Else Error(invalid_argument) with the name, the value and the limits.
inline void require_between(const char* name, int value, int least, int most) {
  if (value >= least && value <= most) return;
  base::fail(ErrorCode::invalid_argument, "{} is {}: it must be between {} and {}", name, value, least, most);
}

}  // namespace kiln::tune
