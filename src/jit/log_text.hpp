#pragma once

#include <string>
#include <string_view>

namespace kiln::jit {

/// What a person needs of a failed compile's log: its first errors, else its first lines.
std::string first_errors(std::string_view log);

}  // namespace kiln::jit
