// Device memory, which is host memory under a limit.
#include "fake_cuda/state.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>

using fake_cuda::enter;
using fake_cuda::Fill;
using fake_cuda::State;

namespace {

constexpr std::size_t kAlignment = 512;

std::size_t used_bytes(State& all, int device) {
  std::size_t used = 0;
  for (const auto& [address, allocation] : all.allocations) used += allocation.device == device ? allocation.bytes : 0;
  return used;
}

/// Whether the range lies within one allocation.
bool allocated(State& all, CUdeviceptr address, std::size_t bytes) {
  auto after = all.allocations.upper_bound(address);
  if (after == all.allocations.begin()) return false;
  const auto& [begin, allocation] = *std::prev(after);
  return address - begin <= allocation.bytes && bytes <= allocation.bytes - (address - begin);
}

/// What a copy or fill that returns when it is done answers before it may work.
CUresult begin_copy(State& all, CUdeviceptr address, std::size_t bytes) {
  if (all.current() == nullptr) return all.no_context();
  if (const CUresult result = fake_cuda::unsafe_call(all); result != CUDA_SUCCESS) return result;
  return allocated(all, address, bytes) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

void* host(CUdeviceptr address) { return reinterpret_cast<void*>(static_cast<std::uintptr_t>(address)); }

}  // namespace

extern "C" {

CUresult cuMemAlloc(CUdeviceptr* address, std::size_t bytes) {
  return enter("cuMemAlloc", [&](State& all) {
    const auto* current = all.current();
    if (current == nullptr) return all.no_context();
    if (const CUresult result = fake_cuda::unsafe_call(all); result != CUDA_SUCCESS) return result;
    if (bytes == 0) return CUDA_ERROR_INVALID_VALUE;
    const std::size_t capacity = all.device(current->device)->memory_bytes;
    if (bytes > capacity || used_bytes(all, current->device) > capacity - bytes) return CUDA_ERROR_OUT_OF_MEMORY;
    void* memory = std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
    if (memory == nullptr) return CUDA_ERROR_OUT_OF_MEMORY;
    *address = reinterpret_cast<std::uintptr_t>(memory);
    all.allocations.emplace(*address, fake_cuda::Allocation{.bytes = bytes, .device = current->device});
    return CUDA_SUCCESS;
  });
}

CUresult cuMemFree(CUdeviceptr address) {
  return enter("cuMemFree", [&](State& all) {
    if (all.current() == nullptr) return all.no_context();
    if (const CUresult result = fake_cuda::unsafe_call(all); result != CUDA_SUCCESS) return result;
    if (address == 0) return CUDA_SUCCESS;
    if (all.allocations.erase(address) == 0) return CUDA_ERROR_INVALID_VALUE;
    std::free(host(address));
    return CUDA_SUCCESS;
  });
}

CUresult cuMemGetInfo(std::size_t* free_bytes, std::size_t* total_bytes) {
  return enter("cuMemGetInfo", [&](State& all) {
    const auto* current = all.current();
    if (current == nullptr) return all.no_context();
    *total_bytes = all.device(current->device)->memory_bytes;
    *free_bytes = *total_bytes - std::min(*total_bytes, used_bytes(all, current->device));
    return CUDA_SUCCESS;
  });
}

CUresult cuMemcpyHtoD(CUdeviceptr target, const void* source, std::size_t bytes) {
  return enter("cuMemcpyHtoD", [&](State& all) {
    const CUresult result = begin_copy(all, target, bytes);
    if (result == CUDA_SUCCESS) std::memcpy(host(target), source, bytes);
    return result;
  });
}

CUresult cuMemcpyDtoH(void* target, CUdeviceptr source, std::size_t bytes) {
  return enter("cuMemcpyDtoH", [&](State& all) {
    const CUresult result = begin_copy(all, source, bytes);
    if (result == CUDA_SUCCESS) std::memcpy(target, host(source), bytes);
    return result;
  });
}

CUresult cuMemsetD8(CUdeviceptr target, unsigned char value, std::size_t bytes) {
  return enter("cuMemsetD8", [&](State& all) {
    const CUresult result = begin_copy(all, target, bytes);
    if (result == CUDA_SUCCESS) std::memset(host(target), value, bytes);
    return result;
  });
}

CUresult cuMemsetD8Async(CUdeviceptr target, unsigned char value, std::size_t bytes, CUstream handle) {
  return enter("cuMemsetD8Async", [&](State& all) {
    const auto [result, stream] = fake_cuda::find_stream(all, handle);
    if (result != CUDA_SUCCESS) return result;
    if (!allocated(all, target, bytes)) return CUDA_ERROR_INVALID_VALUE;
    if (stream != nullptr && stream->capture) {
      stream->capture->nodes.emplace_back(Fill{.target = target, .value = value, .bytes = bytes});
    } else {
      std::memset(host(target), value, bytes);
    }
    return CUDA_SUCCESS;
  });
}

}  // extern "C"
