#pragma once

#include <kiln/kiln.h>

namespace kiln::c_api {

/// Keeps the exception that is being handled as this thread's last error and gives its status. Allocates nothing.
kiln_status keep_exception() noexcept;

/// What every function of kiln.h is made of: nothing thrown inside gets out.
template <class Body>
kiln_status guarded(const Body& body) noexcept {
  try {
    body();
  } catch (...) {
    return keep_exception();
  }
  return KILN_OK;
}

[[noreturn]] void fail_null(const char* name);

/// What the pointer points to; Error(invalid_argument) with the parameter's name if it is null.
template <class Pointee>
Pointee& required(Pointee* pointer, const char* name) {
  if (pointer == nullptr) fail_null(name);
  return *pointer;
}

/// Hands a new object over, or null if making it throws.
template <class Handle, class Make>
kiln_status create(Handle** handle, const char* name, const Make& make) noexcept {
  return guarded([&] {
    required(handle, name) = nullptr;
    *handle = make();
  });
}

}  // namespace kiln::c_api
