// Libraries and their kernels.
#include "fake_cuda/cubin.hpp"
#include "fake_cuda/state.hpp"

#include <cstring>
#include <utility>

using fake_cuda::enter;
using fake_cuda::Kernel;
using fake_cuda::Library;
using fake_cuda::State;

namespace fake_cuda {

bool runs_on(const Kernel& kernel, const FakeDevice& device) {
  return kernel.target == 0 || (kernel.target / 10 == device.capability / 10 && kernel.target <= device.capability);
}

}  // namespace fake_cuda

extern "C" {

CUresult cuLibraryLoadData(CUlibrary* library, const void* code, CUjit_option*, void**, unsigned, CUlibraryOption*,
                           void**, unsigned) {
  return enter("cuLibraryLoadData", [&](State& all) {
    if (const CUresult result = fake_cuda::unsafe_call(all); result != CUDA_SUCCESS) return result;
    if (code == nullptr) return CUDA_ERROR_INVALID_VALUE;
    Library loaded;
    const auto* bytes = static_cast<const std::byte*>(code);
    loaded.elf.assign(bytes, bytes + fake_cuda::elf_bytes(code));
    std::memcpy(loaded.head.data(), code, loaded.head.size());
    *library = static_cast<CUlibrary>(all.libraries.make(std::move(loaded)));
    return CUDA_SUCCESS;
  });
}

CUresult cuLibraryUnload(CUlibrary handle) {
  return enter("cuLibraryUnload", [&](State& all) {
    const Library* library = all.libraries.find(handle);
    if (library == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    for (const auto& [name, kernel] : library->kernels) all.kernels.erase(kernel);
    all.libraries.erase(handle);
    return CUDA_SUCCESS;
  });
}

CUresult cuLibraryGetKernel(CUkernel* handle, CUlibrary library_handle, const char* name) {
  return enter("cuLibraryGetKernel", [&](State& all) {
    Library* library = all.libraries.find(library_handle);
    if (library == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    if (const auto known = library->kernels.find(name); known != library->kernels.end()) {
      *handle = known->second;
      return CUDA_SUCCESS;
    }
    Kernel kernel;
    kernel.name = name;
    kernel.image_bytes = library->elf.size();
    kernel.head = library->head;
    if (!library->elf.empty()) {
      const auto found = fake_cuda::find_kernel(library->elf.data(), name);
      if (!found) return CUDA_ERROR_NOT_FOUND;
      kernel.target = found->target;
      kernel.params_bytes = found->params_bytes;
    }
    *handle = static_cast<CUkernel>(all.kernels.make(std::move(kernel)));
    library->kernels.emplace(name, *handle);
    return CUDA_SUCCESS;
  });
}

CUresult cuKernelGetFunction(CUfunction* function, CUkernel handle) {
  return enter("cuKernelGetFunction", [&](State& all) {
    const auto* current = all.current();
    if (current == nullptr) return all.no_context();
    if (const CUresult result = fake_cuda::unsafe_call(all); result != CUDA_SUCCESS) return result;
    const Kernel* kernel = all.kernels.find(handle);
    if (kernel == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    if (!fake_cuda::runs_on(*kernel, *all.device(current->device))) return CUDA_ERROR_NO_BINARY_FOR_GPU;
    *function = reinterpret_cast<CUfunction>(handle);
    return CUDA_SUCCESS;
  });
}

CUresult cuKernelSetAttribute(CUfunction_attribute attribute, int value, CUkernel handle, CUdevice ordinal) {
  return enter("cuKernelSetAttribute", [&](State& all) {
    Kernel* kernel = all.kernels.find(handle);
    if (kernel == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    const FakeDevice* device = all.device(ordinal);
    if (device == nullptr) return CUDA_ERROR_INVALID_DEVICE;
    if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) return CUDA_ERROR_INVALID_VALUE;
    if (value < 0 || value > device->smem_per_block) return CUDA_ERROR_INVALID_VALUE;
    kernel->dynamic_smem[ordinal] = value;
    return CUDA_SUCCESS;
  });
}

}  // extern "C"
