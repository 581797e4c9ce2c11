#include <kiln/error.hpp>

namespace kiln {

const char* to_string(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::invalid_argument:
      return "invalid_argument";
    case ErrorCode::unsupported:
      return "unsupported";
    case ErrorCode::missing_kernel:
      return "missing_kernel";
    case ErrorCode::capturing:
      return "capturing";
    case ErrorCode::compile:
      return "compile";
    case ErrorCode::cuda:
      return "cuda";
    case ErrorCode::io:
      return "io";
    case ErrorCode::cancelled:
      return "cancelled";
  }
  return "unknown";
}

}  // namespace kiln
