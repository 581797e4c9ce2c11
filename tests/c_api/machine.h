/* A machine without a GPU or NVRTC that behaves as if it had both. */
#ifndef KILN_TESTS_C_API_MACHINE_H
#define KILN_TESTS_C_API_MACHINE_H

#include "fake_cuda/fake_cuda.h"

#include <kiln/kiln.h>

/* The controls of the fake libcuda, found in it by name. */
typedef struct Fake {
  void (*reset)(void);
  void (*fail)(const char* function, int result, int after_calls, int times);
  void (*set_params_bytes)(size_t bytes);
  int (*launch_count)(void);
  int (*launch)(int index, FakeLaunch* launch);
  int (*live_libraries)(void);
  void* (*context_create)(int device);
  void (*context_set_current)(void* context);
  int (*begin_stream)(kiln_stream* stream, unsigned flags); /* cuStreamCreate */
  int (*begin_capture)(kiln_stream stream, int mode);       /* cuStreamBeginCapture */
} Fake;
extern Fake fake;

void machine_start(void); /* once */
void machine_end(void);
void machine_reset(void); /* as new, with a context of device 0 current on this thread */
/* A file or folder of this run's own. Valid until the next call. */
const char* machine_path(const char* name);
/* Options that use the stand-ins and keep kernels in memory only. */
kiln_options* machine_options(void);
/* How often NVRTC was asked to compile since the last machine_reset(). */
int machine_compiles(void);
/* A runtime of those. */
kiln_runtime* machine_runtime(void);

/* Calls that are right in every way but touch nothing. */
kiln_forward_args machine_forward_args(void);
kiln_decode_args machine_decode_args(void);
kiln_shared_prefix machine_shared_prefix(void); /* beside those */
kiln_merge_args machine_merge_args(void);
void* machine_address(uintptr_t address);

#endif
