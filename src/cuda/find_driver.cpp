#include "cuda/find_driver.hpp"

#include "base/fail.hpp"

#include <dlfcn.h>
#include <string>

namespace kiln::cuda {
namespace {

/// The driver runs threads and keeps the process's contexts: unloading it is never safe.
void keep_loaded(const base::DynamicLibrary& library) {
  dlopen(library.path().c_str(), RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
}

}  // namespace

std::span<const char* const> driver_candidates() {
  static constexpr const char* kCandidates[] = {
      "libcuda.so.1",
      "/usr/lib/wsl/lib/libcuda.so.1",
      "/usr/local/nvidia/lib64/libcuda.so.1",
      "/usr/local/cuda/compat/libcuda.so.1",
  };
  return kCandidates;
}

base::DynamicLibrary open_driver(const std::optional<std::filesystem::path>& explicit_path,
                                 std::span<const char* const> candidates) {
  std::string why;
  if (explicit_path) {
    if (auto library = base::DynamicLibrary::open(*explicit_path, why)) {
      keep_loaded(*library);
      return std::move(*library);
    }
    base::fail(ErrorCode::cuda, "libcuda can't be loaded from the path given, {}: {}", explicit_path->string(), why);
  }
  std::string looked_at;
  for (const char* candidate : candidates) {
    if (auto library = base::DynamicLibrary::open(candidate, why)) {
      keep_loaded(*library);
      return std::move(*library);
    }
    looked_at += fmt::format("{}{} ({})", looked_at.empty() ? "" : ", ", candidate, why);
  }
  base::fail(
      ErrorCode::cuda,
      "libcuda was not found: install the NVIDIA driver, 525 or newer, or name the file in cuda_path; looked at {}",
      looked_at);
}

}  // namespace kiln::cuda
