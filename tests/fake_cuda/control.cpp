// What tests call; fake_cuda.h says what each does.
#include "fake_cuda/state.hpp"

using fake_cuda::state;
using fake_cuda::State;

namespace {

template <class Body>
auto locked(Body&& body) {
  State& all = state();
  const std::lock_guard lock(all.mutex);
  return body(all);
}

}  // namespace

extern "C" {

void fake_cuda_reset() {
  locked([](State& all) { all.reset(); });
}

void fake_cuda_shut_down() {
  locked([](State& all) { all.shut_down = true; });
}

void fake_cuda_fail(const char* function, int result, int after_calls, int times) {
  locked([&](State& all) {
    all.script(function).failures.push_back(
        {.result = static_cast<CUresult>(result), .after_calls = after_calls, .times = times});
  });
}

std::uint64_t fake_cuda_call_count(const char* function) {
  return locked([&](State& all) { return all.script(function).calls; });
}

void fake_cuda_set_devices(int count, int capability) {
  locked([&](State& all) { all.set_devices(count, capability); });
}

void fake_cuda_set_device(int ordinal, const FakeDevice* device) {
  locked([&](State& all) { *all.device(ordinal) = *device; });
}

void fake_cuda_set_version(int version) {
  locked([&](State& all) { all.version = version; });
}

void fake_cuda_set_params_bytes(std::size_t bytes) {
  locked([&](State& all) { all.params_bytes = bytes; });
}

void fake_cuda_set_kernel(FakeKernel kernel, void* user) {
  locked([&](State& all) {
    all.kernel = kernel;
    all.kernel_user = user;
  });
}

void fake_cuda_set_launch_ms(double milliseconds) {
  locked([&](State& all) { all.launch_ms = milliseconds; });
}

void fake_cuda_hold_stream(void* stream) {
  locked([&](State& all) { all.held_streams.insert(static_cast<CUstream>(stream)); });
}

void fake_cuda_release_stream(void* stream) {
  locked([&](State& all) {
    all.held_streams.erase(static_cast<CUstream>(stream));
    for (auto& [handle, event] : all.events) {
      if (event.held_in == static_cast<CUstream>(stream)) event.held_in.reset();
    }
  });
}

int fake_cuda_launch_count() {
  return locked([](State& all) { return all.launch_count; });
}

int fake_cuda_launch(int index, FakeLaunch* launch) {
  return locked([&](State& all) {
    const int first = all.launch_count - static_cast<int>(all.launches.size());
    if (index < first || index >= all.launch_count) return 0;
    *launch = all.launches[static_cast<std::size_t>(index - first)];
    return 1;
  });
}

std::size_t fake_cuda_allocated_bytes() {
  return locked([](State& all) {
    std::size_t bytes = 0;
    for (const auto& [address, allocation] : all.allocations) bytes += allocation.bytes;
    return bytes;
  });
}

int fake_cuda_live_allocations() {
  return locked([](State& all) { return static_cast<int>(all.allocations.size()); });
}

int fake_cuda_live_libraries() {
  return locked([](State& all) { return static_cast<int>(all.libraries.size()); });
}

int fake_cuda_live_streams() {
  return locked([](State& all) { return static_cast<int>(all.streams.size()); });
}

int fake_cuda_live_events() {
  return locked([](State& all) { return static_cast<int>(all.events.size()); });
}

int fake_cuda_live_graphs() {
  return locked([](State& all) { return static_cast<int>(all.graphs.size() + all.executable_graphs.size()); });
}

int fake_cuda_retained_contexts() {
  return locked([](State& all) {
    int retained = 0;
    for (const auto& [handle, context] : all.contexts) retained += context.retained;
    return retained;
  });
}

int fake_cuda_thread_capture_mode() {
  return locked([](State& all) { return static_cast<int>(all.thread().mode); });
}

int fake_cuda_context_depth() {
  return locked([](State& all) { return static_cast<int>(all.thread().contexts.size()); });
}

void* fake_cuda_context_current() {
  return locked([](State& all) -> void* { return all.current_handle(); });
}

void* fake_cuda_context_create(int device) {
  return locked([&](State& all) { return all.contexts.make({.device = device}); });
}

void fake_cuda_context_set_current(void* context) {
  locked([&](State& all) {
    auto& stack = all.thread().contexts;
    if (!stack.empty()) stack.pop_back();
    if (context != nullptr) stack.push_back(static_cast<CUcontext>(context));
  });
}

void fake_cuda_context_destroy(void* context) {
  locked([&](State& all) {
    std::erase(all.thread().contexts, static_cast<CUcontext>(context));
    all.streams.erase_if([&](const fake_cuda::Stream& stream) { return stream.context == context; });
    all.events.erase_if([&](const fake_cuda::Event& event) { return event.context == context; });
    all.contexts.erase(context);
  });
}

}  // extern "C"
