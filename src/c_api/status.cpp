#include "c_api/status.hpp"

#include "base/fail.hpp"

#include <kiln/error.hpp>
#include <kiln/version.hpp>

#include <algorithm>
#include <array>
#include <cstring>
#include <exception>
#include <new>
#include <string_view>

namespace kiln::c_api {
namespace {

/// The longest messages are a compiler's, of some 2 KB.
constexpr std::size_t kMostTextBytes = 4096;

// One buffer a thread. It needs no memory when there is none, and no destructor: a call that fails while the process
// ends still finds it.
thread_local std::array<char, kMostTextBytes> last_error{};

kiln_status keep(kiln_status status, std::string_view text) noexcept {
  constexpr std::string_view kCut = "...";
  const std::size_t room = last_error.size() - 1;
  const bool cut = text.size() > room;
  auto* end = std::copy_n(text.data(), cut ? room - kCut.size() : text.size(), last_error.data());
  if (cut) end = std::copy(kCut.begin(), kCut.end(), end);
  *end = '\0';
  return status;
}

constexpr kiln_status status_of(ErrorCode code) { return static_cast<kiln_status>(code) + 1; }
static_assert(status_of(ErrorCode::invalid_argument) == KILN_ERROR_INVALID_ARGUMENT);
static_assert(status_of(ErrorCode::unsupported) == KILN_ERROR_UNSUPPORTED);
static_assert(status_of(ErrorCode::missing_kernel) == KILN_ERROR_MISSING_KERNEL);
static_assert(status_of(ErrorCode::capturing) == KILN_ERROR_CAPTURING);
static_assert(status_of(ErrorCode::compile) == KILN_ERROR_COMPILE);
static_assert(status_of(ErrorCode::cuda) == KILN_ERROR_CUDA);
static_assert(status_of(ErrorCode::io) == KILN_ERROR_IO);

}  // namespace

kiln_status keep_exception() noexcept {
  try {
    throw;
  } catch (const Error& error) {
    return keep(status_of(error.code()), error.what());
  } catch (const std::bad_alloc&) {
    return keep(KILN_ERROR_OUT_OF_MEMORY, "out of memory");
  } catch (const std::exception& error) {
    return keep(KILN_ERROR_INTERNAL, error.what());
  } catch (...) {
    return keep(KILN_ERROR_INTERNAL, "something was thrown that is no std::exception");
  }
}

void fail_null(const char* name) { base::fail(ErrorCode::invalid_argument, "{} is null", name); }

}  // namespace kiln::c_api

const char* kiln_status_name(kiln_status status) {
  switch (status) {
    case KILN_OK:
      return "ok";
    case KILN_ERROR_OUT_OF_MEMORY:
      return "out_of_memory";
    case KILN_ERROR_INTERNAL:
      return "internal";
    default:  // of no ErrorCode: "unknown"
      return status > 0 ? to_string(static_cast<kiln::ErrorCode>(status - 1)) : "unknown";
  }
}

const char* kiln_last_error(void) { return kiln::c_api::last_error.data(); }

const char* kiln_version(void) { return kiln::version(); }
