#pragma once

#include <kiln/attention.hpp>

#include <cstdint>
#include <functional>
#include <string>

namespace kiln::api {

/// What is wrong with arguments, and what the refusal must say of it.
template <class Args>
struct ArgumentMisuse {
  const char* name;
  std::function<void(Args&)> change;
  std::string value;  // what the message must name
  std::string limit;
};

/// A kernel with everything that a call may bring.
inline constexpr AttentionConfig kEverything{
    .softcap = true, .alibi = true, .sinks = true, .bias = Bias::additive, .ragged = true, .paged = true};

/// Addresses of device memory that is never touched.
inline void* pointer(std::uintptr_t address) {
  return reinterpret_cast<void*>(address);  // NOLINT(performance-no-int-to-ptr)
}

template <class T>
const T* device_list(std::uintptr_t address) {
  return static_cast<const T*>(pointer(address));
}

}  // namespace kiln::api
