#pragma once

#include <string>
#include <string_view>

namespace kiln::codegen {

/// Appends the text with its integer constants as enumerators: "inline constexpr int kWarps = 4;" becomes
/// "enum : int { kWarps = 4 };".
///
/// NVRTC makes a global variable of every constexpr variable, used or not, and a kernel with any takes the driver much
/// longer to load. Constants of other types must be functions.
void append_with_enumerators(std::string& out, std::string_view text);

}  // namespace kiln::codegen
