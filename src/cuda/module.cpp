#include "base/fail.hpp"
#include "cuda/cuda_error.hpp"
#include "cuda/driver.hpp"
#include "cuda/relaxed_capture.hpp"

#include <utility>

namespace kiln::cuda {
namespace {

struct LibraryUnloader {
  const DriverFunctions* functions;
  void operator()(CUlibrary library) const noexcept { functions->cuLibraryUnload(library); }
};
using UniqueLibrary = std::unique_ptr<CUlib_st, LibraryUnloader>;

UniqueLibrary load_library(const DriverFunctions& functions, std::span<const std::byte> image) {
  CUlibrary library = nullptr;
  check(functions.cuLibraryLoadData(&library, image.data(), nullptr, nullptr, 0, nullptr, nullptr, 0),
        "loading a kernel's binary", functions);
  return UniqueLibrary(library, {&functions});
}

[[noreturn]] void fail_other_context(CUresult result, int current, int built_for, const DriverFunctions& functions) {
  if (result == CUDA_SUCCESS) {
    base::fail(ErrorCode::cuda, "the kernel was built for device {}; the current context belongs to device {}",
               built_for, current);
  }
  if (result == CUDA_ERROR_INVALID_CONTEXT) {
    base::fail(ErrorCode::cuda,
               "no CUDA context is current on this thread: make one of device {}, which the kernel was built for, "
               "current before launching",
               built_for);
  }
  fail_cuda(result, "asking for the current context's device", functions);
}

[[noreturn]] void fail_launch(CUresult result, const LaunchShape& shape, const DriverFunctions& functions) {
  const auto doing = fmt::format("launching a kernel of {}x{}x{} blocks, {} threads and {} bytes of shared memory",
                                 shape.grid_x, shape.grid_y, shape.grid_z, shape.threads, shape.smem_bytes);
  fail_cuda(result, doing.c_str(), functions);
}

}  // namespace

Module::Module(std::shared_ptr<const Driver> driver, std::span<const std::byte> image, const std::string& entry,
               int dynamic_smem_bytes, int device, Overlap overlap)
    : driver_(std::move(driver)), device_(device), overlap_(overlap) {
  const DriverFunctions& functions = driver_->functions();
  const RelaxedCapture relaxed(functions);
  UniqueLibrary library = load_library(functions, image);
  CUkernel kernel = nullptr;
  check(functions.cuLibraryGetKernel(&kernel, library.get(), entry.c_str()), "finding a kernel's entry", functions);
  if (dynamic_smem_bytes > 0) {
    const auto doing =
        fmt::format("giving a kernel {} bytes of shared memory on device {}", dynamic_smem_bytes, device);
    check(functions.cuKernelSetAttribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, dynamic_smem_bytes, kernel,
                                         device),
          doing.c_str(), functions);
  }
  if (driver_->current_device() == device) {
    // The driver loads lazily: doing it now shows a wrong architecture here and spares the first launch.
    CUfunction function = nullptr;
    check(functions.cuKernelGetFunction(&function, kernel), "loading a kernel into the current context", functions);
  }
  library_ = library.release();
  kernel_ = kernel;
}

Module::~Module() {
  if (driver_->forked()) return;  // it is the parent's
  // At the process's end the driver may be gone before us; then there is nothing left to unload.
  driver_->functions().cuLibraryUnload(static_cast<CUlibrary>(library_));
}

void Module::launch(const LaunchShape& shape, Stream stream, const void* params) const {
  driver_->check_not_forked();
  const DriverFunctions& functions = driver_->functions();
  CUdevice current = 0;
  if (const CUresult result = functions.cuCtxGetDevice(&current); result != CUDA_SUCCESS || current != device_) {
    fail_other_context(result, current, device_, functions);
  }
  CUlaunchConfig config{};
  config.gridDimX = shape.grid_x;
  config.gridDimY = shape.grid_y;
  config.gridDimZ = shape.grid_z;
  config.blockDimX = shape.threads;
  config.blockDimY = 1;
  config.blockDimZ = 1;
  config.sharedMemBytes = shape.smem_bytes;
  config.hStream = stream;
  CUlaunchAttribute overlap{};
  overlap.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
  overlap.value.programmaticStreamSerializationAllowed = 1;
  config.attrs = &overlap;
  config.numAttrs = overlap_ == Overlap::yes && shape.may_overlap ? 1 : 0;
  void* arguments[] = {const_cast<void*>(params)};  // the driver only reads them
  const auto function = reinterpret_cast<CUfunction>(kernel_);
  if (const CUresult result = functions.cuLaunchKernelEx(&config, function, arguments, nullptr);
      result != CUDA_SUCCESS) {
    fail_launch(result, shape, functions);
  }
}

}  // namespace kiln::cuda
