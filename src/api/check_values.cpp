#include "api/check_values.hpp"

#include "base/fail.hpp"
#include "device/mask.cuh"

namespace kiln::api {
namespace {

[[noreturn]] void fail_stride(const char* tensor, const char* dimension, std::int64_t stride, const char* limit) {
  base::fail(ErrorCode::invalid_argument, "{}.strides.{} is {} elements: it must be {}", tensor, dimension, stride,
             limit);
}

struct StrideRule {
  bool written;
  std::int64_t element_bytes;
  std::int64_t alignment;  // in elements
};

void check_stride(const char* tensor, const char* dimension, std::int64_t stride, std::int64_t size,
                  const StrideRule& rule) {
  if (size <= 1) return;  // never multiplied by anything but 0
  if (stride < 0) fail_stride(tensor, dimension, stride, "0 or more");
  if (stride % rule.alignment != 0) fail_stride(tensor, dimension, stride, "a multiple of 16 bytes");
  if (stride >= kStrideLimitBytes / rule.element_bytes) fail_stride(tensor, dimension, stride, "below 2^40 bytes");
  if (rule.written && stride == 0) fail_stride(tensor, dimension, stride, "more than 0, since the tensor is written");
}

void check_strides(const char* name, const Strides& strides, const Sizes& sizes, const StrideRule& rule) {
  check_stride(name, "batch", strides.batch, sizes.batch, rule);
  check_stride(name, "row", strides.row, sizes.rows, rule);
  check_stride(name, "head", strides.head, sizes.heads, rule);
}

bool has_elements(const Sizes& sizes) { return sizes.batch != 0 && sizes.rows != 0 && sizes.heads != 0; }

}  // namespace

void check_pointer(const char* name, const void* pointer, std::int64_t alignment) {
  if (pointer == nullptr) base::fail(ErrorCode::invalid_argument, "{} is null", name);
  const auto address = reinterpret_cast<std::uintptr_t>(pointer);
  if (address % static_cast<std::uintptr_t>(alignment) != 0) {
    base::fail(ErrorCode::invalid_argument, "{} is {}: it must be a multiple of {} bytes", name, pointer, alignment);
  }
}

void check_size(const char* name, int value, int least) {
  if (value < least) base::fail(ErrorCode::invalid_argument, "{} is {}: it must be {} or more", name, value, least);
}

void check_length(const char* name, int value) {
  check_size(name, value, 0);
  if (value > device::kMaxLength) {
    base::fail(ErrorCode::invalid_argument, "{} is {}: it must be at most {}", name, value, device::kMaxLength);
  }
}

void check_tensor(const char* name, const void* data, const Strides& strides, const Sizes& sizes, bool written,
                  std::int64_t element_bytes) {
  if (!has_elements(sizes)) return;  // nothing is touched
  check_pointer(name, data, kAlignmentBytes);
  check_strides(name, strides, sizes, {written, element_bytes, kAlignmentBytes / element_bytes});
}

void check_numbers(const char* name, const void* data, const Strides& strides, const Sizes& sizes, bool written,
                   std::int64_t element_bytes) {
  if (!has_elements(sizes)) return;
  check_pointer(name, data, element_bytes);
  check_strides(name, strides, sizes, {written, element_bytes, 1});
}

}  // namespace kiln::api
