#include "c_api/structs.hpp"

#include "base/fail.hpp"

#include <kiln/version.hpp>

namespace kiln::c_api {

void check_struct_size(const char* name, std::size_t size, std::size_t least_bytes) {
  if (size >= least_bytes && size <= kMostStructBytes && size % kSizeStep == 0) return;
  base::fail(ErrorCode::invalid_argument,
             "{}.struct_size is {}: it must be a multiple of {} from {} to {}; {}_init() sets it", name, size,
             kSizeStep, least_bytes, kMostStructBytes, name);
}

void check_unknown_tail(const char* name, const void* given, std::size_t size, std::size_t known_bytes) {
  const auto* bytes = static_cast<const unsigned char*>(given);
  for (std::size_t at = known_bytes; at < size; ++at) {
    if (bytes[at] == 0) continue;
    base::fail(ErrorCode::invalid_argument,
               "{}.struct_size is {}: Kiln {} knows the first {} bytes, and byte {} asks for something newer", name,
               size, version(), known_bytes, at);
  }
}

}  // namespace kiln::c_api
