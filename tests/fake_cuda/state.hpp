#pragma once

#include "fake_cuda/cuda_exports.hpp"
#include "fake_cuda/pool.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <variant>
#include <vector>

namespace fake_cuda {

struct Context {
  int device = 0;
  int retained = 0;  ///< 0: not a primary context
};

struct Fill {
  CUdeviceptr target = 0;
  unsigned char value = 0;
  std::size_t bytes = 0;
};
using Nodes = std::vector<std::variant<FakeLaunch, Fill>>;

struct Capture {
  CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_GLOBAL;
  std::thread::id thread;
  bool invalidated = false;
  Nodes nodes;
};

struct Stream {
  CUcontext context = nullptr;
  bool waits_for_default = false;
  std::optional<Capture> capture;
};

struct Event {
  CUcontext context = nullptr;
  std::optional<double> milliseconds;
  std::optional<CUstream> held_in;  ///< the stream was held when it was recorded, and still is
};

struct Library {
  std::vector<std::byte> elf;  ///< a copy of the image; empty if it is no cubin
  std::array<unsigned char, kFakeHeadBytes> head{};
  std::map<std::string, CUkernel, std::less<>> kernels;
};

struct Kernel {
  std::string name;
  int target = 0;  ///< 0: any device
  std::optional<std::size_t> params_bytes;
  std::size_t image_bytes = 0;
  std::array<unsigned char, kFakeHeadBytes> head{};
  std::map<int, int> dynamic_smem;  ///< by device
};

struct Allocation {
  std::size_t bytes = 0;
  int device = 0;
};

struct Failure {
  CUresult result = CUDA_SUCCESS;
  int after_calls = 0;
  int times = 0;  ///< negative: for ever
};

struct Script {
  std::uint64_t calls = 0;
  std::vector<Failure> failures;
};

/// What the driver keeps for each thread.
struct Thread {
  std::uint64_t generation = 0;
  std::vector<CUcontext> contexts;
  CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_GLOBAL;
};

/// The whole fake, guarded by one lock.
struct State {
  std::mutex mutex;
  std::uint64_t generation = 1;  ///< of the last reset: threads drop what is older
  bool initialized = false;
  /// Whether this is a fork of the process that started the driver: like the driver, it serves that one only. Read
  /// without the lock, which a fork may find held.
  std::atomic<bool> forked = false;
  bool shut_down = false;
  int version = 0;
  std::map<std::string_view, Script> scripts;
  std::vector<FakeDevice> devices;
  Pool<Context> contexts;
  Pool<Stream> streams;
  std::set<CUstream> held_streams;
  Pool<Event> events;
  Pool<Library> libraries;
  Pool<Kernel> kernels;
  Pool<Nodes> graphs;
  Pool<Nodes> executable_graphs;
  std::map<CUdeviceptr, Allocation> allocations;
  std::deque<FakeLaunch> launches;  ///< the last of them
  int launch_count = 0;
  std::optional<std::size_t> params_bytes;
  FakeKernel kernel = nullptr;
  void* kernel_user = nullptr;
  double launch_ms = 0;
  double clock_ms = 0;
  std::string log;

  /// Frees all memory, forgets everything, then applies FAKE_CUDA.
  void reset();
  void set_devices(int count, int capability);
  /// The script of a function; ends the process if the fake has none of this name.
  Script& script(std::string_view function);

  Thread& thread() const;  ///< the calling one
  Context* current();      ///< null if the thread has none, or one that was destroyed
  /// What a call answers in either case.
  CUresult no_context() const;
  CUcontext current_handle() const;
  FakeDevice* device(int ordinal);
};

State& state();

/// What FAKE_CUDA asks for. Ends the process with a message on a bad value.
void apply_script(State& state, std::string_view text);

/// Counts a call and says what answers it before the function proper can: a scripted failure, a
/// driver that has shut down or never started.
CUresult begin_call(State& state, const char* function, bool needs_init);

/// The frame of every entry point: runs `body` under the lock if the call gets that far.
template <class Body>
CUresult enter(const char* function, Body&& body, bool needs_init = true) noexcept {
  State& all = state();
  if (all.forked) return CUDA_ERROR_NOT_INITIALIZED;
  const std::lock_guard lock(all.mutex);
  const CUresult begun = begin_call(all, function, needs_init);
  return begun != CUDA_SUCCESS ? begun : body(all);
}

/// CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED if the thread may not make an unsafe call now; breaks the
/// captures that forbid it, as the driver does.
CUresult unsafe_call(State& state);

/// A stream's handle as the current context sees it. Null stands for the default stream.
struct FoundStream {
  CUresult result = CUDA_SUCCESS;
  Stream* stream = nullptr;
};
FoundStream find_stream(State& state, CUstream handle);
/// Whether a stream that waits for the current context's default stream is being captured.
bool default_stream_captured(State& state);

/// A cubin runs on devices of its own major capability that are not older.
bool runs_on(const Kernel& kernel, const FakeDevice& device);
void record_launch(State& state, const FakeLaunch& launch);
/// Moves the clock for launches that run and lets the kernel's stand-in work on them, without the lock.
void run_launches(const std::vector<FakeLaunch>& launches);

}  // namespace fake_cuda
