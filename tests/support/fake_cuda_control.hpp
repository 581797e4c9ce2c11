#pragma once

#include "fake_cuda/fake_cuda.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <dlfcn.h>
#include <filesystem>
#include <stdexcept>
#include <string>

namespace kiln::test {

/// The fake libcuda, reset when this is made. Driver::load(FakeCuda::path()) uses the same one.
/// Its functions are called by their names without the prefix: fake.fail("cuMemAlloc", 2, 0, 1).
class FakeCuda {
 public:
  FakeCuda() { reset(); }

  static std::filesystem::path path() { return KILN_FAKE_CUDA_PATH; }
  /// A driver from before CUDA 12.
  static std::filesystem::path old_driver_path() { return KILN_OLD_CUDA_PATH; }

// NOLINTBEGIN(bugprone-macro-parentheses)
#define KILN_CONTROL(name) \
  decltype(&::fake_cuda_##name) name = symbol<decltype(&::fake_cuda_##name)>("fake_cuda_" #name)
  // NOLINTEND(bugprone-macro-parentheses)
  KILN_CONTROL(reset);
  KILN_CONTROL(shut_down);
  KILN_CONTROL(call_count);
  KILN_CONTROL(set_devices);
  KILN_CONTROL(set_device);
  KILN_CONTROL(set_version);
  KILN_CONTROL(set_params_bytes);
  KILN_CONTROL(set_kernel);
  KILN_CONTROL(set_launch_ms);
  KILN_CONTROL(hold_stream);
  KILN_CONTROL(release_stream);
  KILN_CONTROL(launch_count);
  KILN_CONTROL(allocated_bytes);
  KILN_CONTROL(live_allocations);
  KILN_CONTROL(live_libraries);
  KILN_CONTROL(live_streams);
  KILN_CONTROL(live_events);
  KILN_CONTROL(live_graphs);
  KILN_CONTROL(retained_contexts);
  KILN_CONTROL(thread_capture_mode);
  KILN_CONTROL(context_depth);
  KILN_CONTROL(context_current);
  KILN_CONTROL(context_create);
  KILN_CONTROL(context_set_current);
  KILN_CONTROL(context_destroy);

  /// The next `times` calls (-1: all), after `after_calls` that go well, answer `result`.
  void fail(const char* function, int result, int after_calls = 0, int times = -1) const {
    fail_(function, result, after_calls, times);
  }
  /// The launch of this index since reset; a negative one counts from the last.
  [[nodiscard]] FakeLaunch launch(int index = -1) const {
    FakeLaunch found{};
    if (launch_(index < 0 ? launch_count() + index : index, &found) == 0) {
      ADD_FAILURE() << "the fake has no launch " << index << " of " << launch_count();
    }
    return found;
  }
  /// The parameters of a launch; a size that differs from the struct's is a test failure.
  template <class Params>
  [[nodiscard]] Params params(int index = -1) const {
    const FakeLaunch found = launch(index);
    EXPECT_EQ(found.params_bytes, sizeof(Params));
    Params params{};
    std::memcpy(&params, found.params, sizeof(Params));
    return params;
  }

 private:
  template <class Function>
  static Function symbol(const char* name) {
    static void* const library = dlopen(KILN_FAKE_CUDA_PATH, RTLD_NOW | RTLD_NODELETE);
    void* found = library == nullptr ? nullptr : dlsym(library, name);
    if (found == nullptr) throw std::runtime_error(dlerror());
    return reinterpret_cast<Function>(found);
  }

  decltype(&::fake_cuda_fail) fail_ = symbol<decltype(&::fake_cuda_fail)>("fake_cuda_fail");
  decltype(&::fake_cuda_launch) launch_ = symbol<decltype(&::fake_cuda_launch)>("fake_cuda_launch");
#undef KILN_CONTROL
};

/// Makes an application's context current on this thread for its scope.
class FakeContext {
 public:
  FakeContext(const FakeCuda& fake, int device)
      : fake_(fake), before_(fake.context_current()), context_(fake.context_create(device)) {
    fake_.context_set_current(context_);
  }
  ~FakeContext() { fake_.context_set_current(before_); }
  [[nodiscard]] void* get() const { return context_; }
  FakeContext(const FakeContext&) = delete;
  FakeContext& operator=(const FakeContext&) = delete;

 private:
  const FakeCuda& fake_;
  void* before_;
  void* context_;
};

}  // namespace kiln::test
