#pragma once

#include <kiln/export.h>

#include <stdexcept>
#include <string>

namespace kiln {

/// What went wrong, for a caller that wants to act on it.
enum class KILN_API ErrorCode {
  invalid_argument,  ///< a value the caller gave is wrong; the message names it and the limit
  unsupported,       ///< the request is sensible but this build or GPU can't do it
  missing_kernel,    ///< JIT is off and no precompiled kernel matches
  capturing,         ///< a compile would be needed while the stream is being captured
  compile,           ///< NVRTC is missing, too old, or refused the source
  cuda,              ///< the driver is missing or returned an error
  io,                ///< a file could not be read or written
  cancelled,         ///< Preparation::cancel() came before the work was done
};

/// The name of a code as it stands above, e.g. "invalid_argument".
KILN_API const char* to_string(ErrorCode code) noexcept;

/// The one exception Kiln throws on purpose. what() is a whole sentence for a person.
class KILN_API Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}

  [[nodiscard]] ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace kiln
