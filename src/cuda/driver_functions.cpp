#include "cuda/driver_functions.hpp"

#include "base/fail.hpp"

#include <utility>

namespace kiln::cuda {
namespace {

template <class Function>
void resolve(const base::DynamicLibrary& library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(library.symbol(name));
  if (function == nullptr) {
    base::fail(ErrorCode::cuda,
               "{} has no function {}: it is not the NVIDIA driver's libcuda, or too old for this build",
               library.path().string(), name);
  }
}

int checked_version(const base::DynamicLibrary& library) {
  decltype(&::cuDriverGetVersion) get_version = nullptr;
  resolve(library, "cuDriverGetVersion", get_version);
  int version = 0;
  // Where even this fails, as it may in a forked process, cuInit() will say why.
  const bool known = get_version(&version) == CUDA_SUCCESS;
  if ((known && version < kOldestDriver) || library.symbol("cuLibraryLoadData") == nullptr) {
    base::fail(
        ErrorCode::cuda,
        "the NVIDIA driver at {} supports CUDA {}; Kiln needs {} or newer (cuLibraryLoadData): update the driver "
        "to 525 or newer",
        library.path().string(), version_text(version), version_text(kOldestDriver));
  }
  return version;
}

}  // namespace

DriverFunctions::DriverFunctions(base::DynamicLibrary opened)
    : library(std::move(opened)), version(checked_version(library)) {
#define KILN_NAME(name) #name
#define KILN_RESOLVE(name) resolve(library, KILN_NAME(name), this->name);
  KILN_CUDA_FUNCTIONS(KILN_RESOLVE)
#undef KILN_RESOLVE
#undef KILN_NAME
  resolve(library, "cuEventElapsedTime", event_elapsed_time);
}

std::string version_text(int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); }

}  // namespace kiln::cuda
