#pragma once

#include <cstddef>
#include <optional>
#include <string>

namespace fake_cuda {

/// What the fake reads in a cubin, as the real driver would.
struct CubinKernel {
  int target = 0;  ///< 90 for sm_90
  std::size_t params_bytes = 0;
};

/// Bytes of an ELF image by its own headers; 0 if it is none or has no sections.
std::size_t elf_bytes(const void* image);
/// Empty if the ELF image has no kernel of this name.
std::optional<CubinKernel> find_kernel(const void* image, const std::string& name);

}  // namespace fake_cuda
