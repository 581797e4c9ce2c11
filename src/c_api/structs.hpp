#pragma once

#include "c_api/convert.hpp"
#include "c_api/status.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <type_traits>

namespace kiln::c_api {

/// A struct of kiln.h grows at its end only, and has no padding, so its size tells how much of it a caller knows. All
/// sizes are multiples of this, and no member lies across one.
inline constexpr std::size_t kSizeStep = 8;
/// More than a struct will ever have: a struct_size above it is no size.
inline constexpr std::size_t kMostStructBytes = 4096;

/// What reading and writing a struct needs to know of it.
template <class Struct>
struct Layout {
  const char* name;
  std::size_t least_bytes;  ///< of the members that are not optional
  Struct (*defaults)();
};

template <class Struct>
inline constexpr Layout<Struct> kLayout{};
template <>
inline constexpr Layout<kiln_attention_config> kLayout<kiln_attention_config> = {
    "kiln_attention_config", offsetof(kiln_attention_config, dtype), kiln_attention_config_init};
template <>
inline constexpr Layout<kiln_forward_args> kLayout<kiln_forward_args> = {
    "kiln_forward_args", offsetof(kiln_forward_args, lse), kiln_forward_args_init};
template <>
inline constexpr Layout<kiln_decode_args> kLayout<kiln_decode_args> = {
    "kiln_decode_args", offsetof(kiln_decode_args, lse), kiln_decode_args_init};
template <>
inline constexpr Layout<kiln_shared_prefix> kLayout<kiln_shared_prefix> = {
    "kiln_shared_prefix", offsetof(kiln_shared_prefix, length), kiln_shared_prefix_init};
template <>
inline constexpr Layout<kiln_kernel_request> kLayout<kiln_kernel_request> = {
    "kiln_kernel_request", offsetof(kiln_kernel_request, merge_config), kiln_kernel_request_init};
template <>
inline constexpr Layout<kiln_merge_config> kLayout<kiln_merge_config> = {
    "kiln_merge_config", offsetof(kiln_merge_config, dtype), kiln_merge_config_init};
template <>
inline constexpr Layout<kiln_merge_args> kLayout<kiln_merge_args> = {"kiln_merge_args", offsetof(kiln_merge_args, lse),
                                                                     kiln_merge_args_init};
template <>
inline constexpr Layout<kiln_stats> kLayout<kiln_stats> = {"kiln_stats", offsetof(kiln_stats, memory_hits),
                                                           kiln_stats_init};
template <>
inline constexpr Layout<kiln_kernel_info> kLayout<kiln_kernel_info> = {
    "kiln_kernel_info", offsetof(kiln_kernel_info, kind), kiln_kernel_info_init};

/// Error(invalid_argument) unless some version of the struct may have this size.
void check_struct_size(const char* name, std::size_t size, std::size_t least_bytes);
/// Error(invalid_argument) if a caller's struct holds something beyond the bytes that are known here.
void check_unknown_tail(const char* name, const void* given, std::size_t size, std::size_t known_bytes);

/// struct_size of a caller's struct, which may be shorter than the type says.
inline std::size_t size_of(const void* given) {
  std::size_t size = 0;
  std::memcpy(&size, given, sizeof(size));
  return size;
}

/// A caller's struct of another size than this version's, as this version has it.
template <class Struct>
[[gnu::cold, gnu::noinline]] Struct resized(const Struct* given, std::size_t size) {
  constexpr const auto& layout = kLayout<Struct>;
  check_struct_size(layout.name, size, layout.least_bytes);
  check_unknown_tail(layout.name, given, size, sizeof(Struct));
  Struct out = layout.defaults();
  std::memcpy(static_cast<void*>(&out), static_cast<const void*>(given), std::min(size, sizeof(Struct)));
  out.struct_size = sizeof(Struct);
  return out;
}

/// What `convert` makes of the caller's struct. Arguments of a launch are hundreds of bytes, so a struct of this
/// version's size is read where it lies.
template <class Struct, class Convert>
auto read_struct(const Struct* given, const char* parameter, const Convert& convert) {
  static_assert(std::is_trivially_copyable_v<Struct> && sizeof(Struct) % kSizeStep == 0);
  if (given == nullptr) fail_null(parameter);
  const std::size_t size = size_of(given);
  if (size == sizeof(Struct)) [[likely]]
    return convert(*given);
  return convert(resized(given, size));
}

/// The caller's struct as C++ has it.
template <class Struct>
auto read_struct(const Struct* given, const char* parameter) {
  return read_struct(given, parameter, [](const Struct& known) { return to_cpp(known); });
}

/// Fills in as much of the caller's struct as it has, and zeros where it has more.
template <class Struct>
void write_struct(Struct* target, Struct value, const char* parameter) {
  constexpr const auto& layout = kLayout<Struct>;
  if (target == nullptr) fail_null(parameter);
  const std::size_t size = size_of(target);
  check_struct_size(layout.name, size, layout.least_bytes);
  value.struct_size = size;
  const std::size_t known = std::min(size, sizeof(Struct));
  std::memcpy(static_cast<void*>(target), &value, known);
  std::memset(reinterpret_cast<char*>(target) + known, 0, size - known);
}

}  // namespace kiln::c_api
