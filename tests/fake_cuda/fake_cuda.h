// Controls of the fake libcuda: what it pretends to have, what shall fail, and what it was asked to do.
//
// A whole process is steered by FAKE_CUDA, a comma-separated list of
//   devices=2  capability=90  sms=132  memory=1073741824  version=13000  launch_ms=0.01
//   fail=<function>:<CUresult>[:<after this many calls>[:<times>]]      (may be repeated)
//   log=<file>: call counts, one "<function> <calls>" a line, and "launches <n>", written at exit
//
// A fork of the process that called cuInit gets CUDA_ERROR_NOT_INITIALIZED from every call.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { kFakeNameBytes = 64, kFakeHeadBytes = 16, kFakeParamsBytes = 1280, kFakeLaunchesKept = 4096 };

/// One kernel launch, decoded.
typedef struct FakeLaunch {
  unsigned grid[3];
  unsigned block[3];
  unsigned smem_bytes;
  int overlaps;  // may begin while the kernel before it in the stream ends
  int device;
  void* stream;
  int captured;  ///< recorded into a graph, not run
  int replayed;  ///< run by a graph's launch
  char kernel[kFakeNameBytes];
  size_t image_bytes;                        ///< 0 if the image is not a cubin
  unsigned char image_head[kFakeHeadBytes];  ///< its first bytes
  size_t params_bytes;
  unsigned char params[kFakeParamsBytes];  ///< the one parameter struct
} FakeLaunch;

typedef struct FakeDevice {
  char name[kFakeNameBytes];
  int capability;
  int sm_count;
  int smem_per_block;  ///< after opting in
  int smem_per_sm;
  size_t memory_bytes;
} FakeDevice;

/// Stands in for the kernel: device memory is host memory, so it may compute a result. Called once
/// for each launch that runs, without a lock held.
typedef void (*FakeKernel)(const FakeLaunch* launch, void* user);

/// Back to the start: two sm_90 devices, nothing scripted, nothing recorded, every handle invalid.
void fake_cuda_reset();
/// As if the process were exiting: every call answers CUDA_ERROR_DEINITIALIZED until reset.
void fake_cuda_shut_down();

/// After `after_calls` more calls of `function` (its name without _v2), the next `times` of them
/// (-1: all) answer `result`. An unknown function ends the process.
void fake_cuda_fail(const char* function, int result, int after_calls, int times);
uint64_t fake_cuda_call_count(const char* function);

void fake_cuda_set_devices(int count, int capability);
void fake_cuda_set_device(int ordinal, const FakeDevice* device);
void fake_cuda_set_version(int version);

/// Size of the parameter struct for images that aren't cubins; a cubin says it itself.
void fake_cuda_set_params_bytes(size_t bytes);
void fake_cuda_set_kernel(FakeKernel kernel, void* user);
/// How far a launch moves the clock that events read.
void fake_cuda_set_launch_ms(double milliseconds);
/// As if the stream were busy from now on: an event recorded in it is not reached until it is released.
void fake_cuda_hold_stream(void* stream);
void fake_cuda_release_stream(void* stream);
/// All launches since reset; the last kFakeLaunchesKept of them can be read. Returns 0 if it can't.
int fake_cuda_launch_count();
int fake_cuda_launch(int index, FakeLaunch* launch);

/// What has been made and not freed.
size_t fake_cuda_allocated_bytes();
int fake_cuda_live_allocations();
int fake_cuda_live_libraries();
int fake_cuda_live_streams();
int fake_cuda_live_events();
int fake_cuda_live_graphs();  ///< captured and executable ones
int fake_cuda_retained_contexts();

/// Of the calling thread. The context calls are what an application around Kiln does.
int fake_cuda_thread_capture_mode();
int fake_cuda_context_depth();
void* fake_cuda_context_current();
void* fake_cuda_context_create(int device);
void fake_cuda_context_set_current(void* context);  ///< null: none
/// With its streams and events. It leaves this thread's stack; other threads it is current on are left with a dead one.
void fake_cuda_context_destroy(void* context);

#ifdef __cplusplus
}
#endif
