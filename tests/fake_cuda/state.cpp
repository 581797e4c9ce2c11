#include "fake_cuda/state.hpp"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <pthread.h>

namespace fake_cuda {
namespace {

constexpr const char* kFunctions[] = {
    "cuInit",
    "cuDriverGetVersion",
    "cuGetErrorName",
    "cuGetErrorString",
    "cuDeviceGet",
    "cuDeviceGetCount",
    "cuDeviceGetName",
    "cuDeviceGetAttribute",
    "cuDevicePrimaryCtxRetain",
    "cuDevicePrimaryCtxRelease",
    "cuCtxGetDevice",
    "cuCtxGetId",
    "cuCtxPushCurrent",
    "cuCtxPopCurrent",
    "cuCtxSynchronize",
    "cuLibraryLoadData",
    "cuLibraryUnload",
    "cuLibraryGetKernel",
    "cuKernelGetFunction",
    "cuKernelSetAttribute",
    "cuLaunchKernelEx",
    "cuStreamCreate",
    "cuStreamDestroy",
    "cuStreamSynchronize",
    "cuStreamGetId",
    "cuStreamIsCapturing",
    "cuStreamBeginCapture",
    "cuStreamEndCapture",
    "cuThreadExchangeStreamCaptureMode",
    "cuMemAlloc",
    "cuMemFree",
    "cuMemGetInfo",
    "cuMemcpyHtoD",
    "cuMemcpyDtoH",
    "cuMemsetD8",
    "cuMemsetD8Async",
    "cuEventCreate",
    "cuEventDestroy",
    "cuEventRecord",
    "cuEventQuery",
    "cuEventSynchronize",
    "cuEventElapsedTime",
    "cuGraphInstantiate",
    "cuGraphLaunch",
    "cuGraphDestroy",
    "cuGraphExecDestroy",
};

FakeDevice default_device(int capability) {
  FakeDevice device{};
  std::snprintf(device.name, sizeof(device.name), "Fake GPU");
  device.capability = capability;
  device.sm_count = 132;
  const bool large = capability == 90 || capability / 10 == 10 || capability == 110;
  const bool middle = capability == 80 || capability == 87;
  device.smem_per_block = (capability < 80 ? 64 : large ? 227 : middle ? 163 : 99) * 1024;
  device.smem_per_sm = (capability < 80 ? 64 : large ? 228 : middle ? 164 : 100) * 1024;
  device.memory_bytes = std::size_t{1} << 30;
  return device;
}

void write_log(State& all) {
  if (all.log.empty()) return;
  std::ofstream out(all.log);
  for (const auto& [name, script] : all.scripts) out << name << ' ' << script.calls << '\n';
  out << "launches " << all.launch_count << '\n';
}

void at_exit() {
  State& all = state();
  const std::lock_guard lock(all.mutex);
  write_log(all);
  all.shut_down = true;
}

}  // namespace

State& state() {
  // Never destroyed: like the driver, it answers until the process's last instruction.
  static State* const all = [] {
    auto* made = new State;
    made->reset();
    std::atexit(at_exit);
    pthread_atfork(nullptr, nullptr, [] { state().forked = state().initialized; });
    return made;
  }();
  return *all;
}

void State::reset() {
  for (const auto& [address, allocation] : allocations) std::free(reinterpret_cast<void*>(address));
  allocations.clear();
  contexts.clear();
  streams.clear();
  held_streams.clear();
  events.clear();
  libraries.clear();
  kernels.clear();
  graphs.clear();
  executable_graphs.clear();
  launches.clear();
  launch_count = 0;
  params_bytes.reset();
  kernel = nullptr;
  kernel_user = nullptr;
  launch_ms = 0.01;
  clock_ms = 0;
  log.clear();
  scripts.clear();
  for (const char* function : kFunctions) scripts.emplace(function, Script{});
  ++generation;
  initialized = false;
  forked = false;
  shut_down = false;
  version = 13000;
  set_devices(2, 90);
  if (const char* text = std::getenv("FAKE_CUDA")) apply_script(*this, text);
}

void State::set_devices(int count, int capability) {
  devices.assign(static_cast<std::size_t>(count), default_device(capability));
}

Script& State::script(std::string_view function) {
  const auto found = scripts.find(function);
  if (found == scripts.end()) {
    std::fprintf(stderr, "fake libcuda: there is no function %.*s to script or count\n",
                 static_cast<int>(function.size()), function.data());
    std::abort();
  }
  return found->second;
}

Thread& State::thread() const {
  thread_local Thread here;
  if (here.generation != generation) {
    here = {};
    here.generation = generation;
  }
  return here;
}

CUcontext State::current_handle() const {
  const Thread& here = thread();
  return here.contexts.empty() ? nullptr : here.contexts.back();
}

Context* State::current() { return contexts.find(current_handle()); }

CUresult State::no_context() const {
  return current_handle() == nullptr ? CUDA_ERROR_INVALID_CONTEXT : CUDA_ERROR_CONTEXT_IS_DESTROYED;
}

CUresult begin_call(State& all, const char* function, bool needs_init) {
  if (all.shut_down) return CUDA_ERROR_DEINITIALIZED;
  Script& script = all.script(function);
  ++script.calls;
  for (Failure& failure : script.failures) {
    if (failure.after_calls > 0) {
      --failure.after_calls;
    } else if (failure.times != 0) {
      if (failure.times > 0) --failure.times;
      return failure.result;
    }
  }
  return needs_init && !all.initialized ? CUDA_ERROR_NOT_INITIALIZED : CUDA_SUCCESS;
}

FakeDevice* State::device(int ordinal) {
  const auto index = static_cast<std::size_t>(ordinal);
  return ordinal >= 0 && index < devices.size() ? &devices[index] : nullptr;
}

}  // namespace fake_cuda
