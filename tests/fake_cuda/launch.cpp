// Launches and graphs.
#include "fake_cuda/state.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <span>

using fake_cuda::enter;
using fake_cuda::Fill;
using fake_cuda::Kernel;
using fake_cuda::Nodes;
using fake_cuda::State;

namespace fake_cuda {

void record_launch(State& all, const FakeLaunch& launch) {
  ++all.launch_count;
  all.launches.push_back(launch);
  if (all.launches.size() > kFakeLaunchesKept) all.launches.pop_front();
}

void run_launches(const std::vector<FakeLaunch>& launches) {
  FakeKernel kernel = nullptr;
  void* user = nullptr;
  {
    State& all = state();
    const std::lock_guard lock(all.mutex);
    all.clock_ms += all.launch_ms * static_cast<double>(launches.size());
    kernel = all.kernel;
    user = all.kernel_user;
  }
  if (kernel == nullptr) return;
  for (const FakeLaunch& launch : launches) kernel(&launch, user);
}

}  // namespace fake_cuda

namespace {

constexpr int kSmemWithoutOptIn = 48 * 1024;
constexpr unsigned kMostThreads = 1024;
constexpr unsigned kMostGridYZ = 65535;

bool shape_fits(const CUlaunchConfig& config, const Kernel& kernel, int device) {
  const auto granted = kernel.dynamic_smem.find(device);
  const int smem_limit = std::max(kSmemWithoutOptIn, granted == kernel.dynamic_smem.end() ? 0 : granted->second);
  const std::size_t threads = std::size_t{config.blockDimX} * config.blockDimY * config.blockDimZ;
  return config.gridDimX > 0 && config.gridDimY > 0 && config.gridDimZ > 0 && config.gridDimY <= kMostGridYZ &&
         config.gridDimZ <= kMostGridYZ && threads > 0 && threads <= kMostThreads &&
         config.sharedMemBytes <= static_cast<unsigned>(smem_limit);
}

FakeLaunch decode(const State& all, const CUlaunchConfig& config, const Kernel& kernel, int device, void** params) {
  FakeLaunch launch{};
  launch.grid[0] = config.gridDimX;
  launch.grid[1] = config.gridDimY;
  launch.grid[2] = config.gridDimZ;
  launch.block[0] = config.blockDimX;
  launch.block[1] = config.blockDimY;
  launch.block[2] = config.blockDimZ;
  launch.smem_bytes = config.sharedMemBytes;
  for (const auto& attribute : std::span(config.attrs, config.numAttrs)) {
    if (attribute.id == CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION) {
      launch.overlaps = attribute.value.programmaticStreamSerializationAllowed;
    }
  }
  launch.device = device;
  launch.stream = config.hStream;
  std::snprintf(launch.kernel, sizeof(launch.kernel), "%s", kernel.name.c_str());
  launch.image_bytes = kernel.image_bytes;
  std::copy(kernel.head.begin(), kernel.head.end(), launch.image_head);
  launch.params_bytes = kernel.params_bytes.value_or(all.params_bytes.value_or(0));
  if (params != nullptr) {
    std::memcpy(launch.params, params[0], std::min<std::size_t>(launch.params_bytes, kFakeParamsBytes));
  }
  return launch;
}

}  // namespace

extern "C" {

CUresult cuLaunchKernelEx(const CUlaunchConfig* config, CUfunction function, void** params, void**) {
  std::vector<FakeLaunch> to_run;
  const CUresult launched = enter("cuLaunchKernelEx", [&](State& all) {
    const auto* current = all.current();
    if (current == nullptr) return all.no_context();
    const Kernel* kernel = all.kernels.find(function);
    if (kernel == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    const auto [result, stream] = fake_cuda::find_stream(all, config->hStream);
    if (result != CUDA_SUCCESS) return result;
    if (stream != nullptr && stream->context != all.current_handle()) return CUDA_ERROR_INVALID_HANDLE;
    if (!fake_cuda::runs_on(*kernel, *all.device(current->device))) return CUDA_ERROR_NO_BINARY_FOR_GPU;
    if (!shape_fits(*config, *kernel, current->device)) return CUDA_ERROR_INVALID_VALUE;
    FakeLaunch launch = decode(all, *config, *kernel, current->device, params);
    if (stream != nullptr && stream->capture) {
      if (stream->capture->invalidated) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
      launch.captured = 1;
      stream->capture->nodes.emplace_back(launch);
    } else {
      to_run.push_back(launch);
    }
    fake_cuda::record_launch(all, launch);
    return CUDA_SUCCESS;
  });
  fake_cuda::run_launches(to_run);
  return launched;
}

CUresult cuGraphInstantiate(CUgraphExec* executable, CUgraph handle, unsigned long long) {
  return enter("cuGraphInstantiate", [&](State& all) {
    const Nodes* nodes = all.graphs.find(handle);
    if (nodes == nullptr) return CUDA_ERROR_INVALID_VALUE;
    *executable = static_cast<CUgraphExec>(all.executable_graphs.make(*nodes));
    return CUDA_SUCCESS;
  });
}

CUresult cuGraphLaunch(CUgraphExec executable, CUstream handle) {
  std::vector<FakeLaunch> to_run;
  const CUresult launched = enter("cuGraphLaunch", [&](State& all) {
    const Nodes* nodes = all.executable_graphs.find(executable);
    if (nodes == nullptr) return CUDA_ERROR_INVALID_VALUE;
    if (const CUresult result = fake_cuda::find_stream(all, handle).result; result != CUDA_SUCCESS) return result;
    for (const auto& node : *nodes) {
      if (const Fill* fill = std::get_if<Fill>(&node)) {
        std::memset(reinterpret_cast<void*>(static_cast<std::uintptr_t>(fill->target)), fill->value, fill->bytes);
        continue;
      }
      FakeLaunch launch = std::get<FakeLaunch>(node);
      launch.captured = 0;
      launch.replayed = 1;
      launch.stream = handle;
      fake_cuda::record_launch(all, launch);
      to_run.push_back(launch);
    }
    return CUDA_SUCCESS;
  });
  fake_cuda::run_launches(to_run);
  return launched;
}

CUresult cuGraphDestroy(CUgraph graph) {
  return enter("cuGraphDestroy",
               [&](State& all) { return all.graphs.erase(graph) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE; });
}

CUresult cuGraphExecDestroy(CUgraphExec graph) {
  return enter("cuGraphExecDestroy", [&](State& all) {
    return all.executable_graphs.erase(graph) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  });
}

}  // extern "C"
