#define _XOPEN_SOURCE 700
#include "c_api/machine.h"

#include "c_api/check.h"

#include <dlfcn.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Fake fake;

static char folder[] = "/tmp/kiln_c_api_XXXXXX";

/* ISO C has no conversion from an object's pointer to a function's, but POSIX says that they are alike. */
static void find(void* library, const char* name, void* function) {
  void* const found = dlsym(library, name);
  if (found == NULL) {
    fprintf(stderr, "%s\n", dlerror());
    exit(2);
  }
  memcpy(function, &found, sizeof(found));
}

void machine_start(void) {
  void* const library = dlopen(KILN_FAKE_CUDA_PATH, RTLD_NOW | RTLD_NODELETE);
  if (library == NULL || mkdtemp(folder) == NULL) {
    fprintf(stderr, "no fake libcuda or no folder: %s\n", dlerror());
    exit(2);
  }
  find(library, "fake_cuda_reset", &fake.reset);
  find(library, "fake_cuda_fail", &fake.fail);
  find(library, "fake_cuda_set_params_bytes", &fake.set_params_bytes);
  find(library, "fake_cuda_launch_count", &fake.launch_count);
  find(library, "fake_cuda_launch", &fake.launch);
  find(library, "fake_cuda_live_libraries", &fake.live_libraries);
  find(library, "fake_cuda_context_create", &fake.context_create);
  find(library, "fake_cuda_context_set_current", &fake.context_set_current);
  find(library, "cuStreamCreate", &fake.begin_stream);
  find(library, "cuStreamBeginCapture_v2", &fake.begin_capture);
  setenv("NVRTC_SHIM_FAKE", "1", 1);
  setenv("NVRTC_SHIM_COUNT", machine_path("compiles"), 1);
}

static int remove_one(const char* path, const struct stat* status, int kind, struct FTW* where) {
  (void)status;
  (void)kind;
  (void)where;
  return remove(path);
}

void machine_end(void) { nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS); }

void machine_reset(void) {
  fake.reset();
  fake.context_set_current(fake.context_create(0));
  remove(machine_path("compiles"));
}

int machine_compiles(void) {
  FILE* const file = fopen(machine_path("compiles"), "r"); /* a line for each; no file before the first */
  int lines = 0;
  int c = 0;
  if (file == NULL) return 0;
  while ((c = fgetc(file)) != EOF) lines += c == '\n';
  fclose(file);
  return lines;
}

const char* machine_path(const char* name) {
  static char path[256];
  snprintf(path, sizeof(path), "%s/%s", folder, name);
  return path;
}

kiln_options* machine_options(void) {
  kiln_options* options = NULL;
  CHECK_OK(kiln_options_create(&options));
  CHECK_OK(kiln_options_set(options, "cuda_path", KILN_FAKE_CUDA_PATH));
  CHECK_OK(kiln_options_set(options, "nvrtc_path", KILN_NVRTC_SHIM));
  CHECK_OK(kiln_options_set(options, "cache_dir", ""));
  return options;
}

kiln_runtime* machine_runtime(void) {
  kiln_options* const options = machine_options();
  kiln_runtime* runtime = NULL;
  CHECK_OK(kiln_runtime_create(options, &runtime));
  kiln_options_destroy(options);
  return runtime;
}

void* machine_address(uintptr_t address) { return (void*)address; }

static kiln_input input(uintptr_t address, int64_t length, int64_t heads) {
  kiln_input out;
  out.data = machine_address(address);
  out.strides = kiln_strides_bshd(length, heads, 128);
  return out;
}

static kiln_output output(uintptr_t address, int64_t length, int64_t heads) {
  kiln_output out;
  out.data = machine_address(address);
  out.strides = kiln_strides_bshd(length, heads, 128);
  return out;
}

kiln_forward_args machine_forward_args(void) {
  kiln_forward_args args = kiln_forward_args_init();
  args.q = input(0x10000, 300, 8);
  args.k = input(0x20000, 500, 2);
  args.v = input(0x30000, 500, 2);
  args.out = output(0x40000, 300, 8);
  args.batch = 3;
  args.len_q = 300;
  args.len_k = 500;
  args.heads_q = 8;
  args.heads_kv = 2;
  return args;
}

kiln_decode_args machine_decode_args(void) {
  kiln_decode_args args = kiln_decode_args_init();
  args.q = input(0x10000, 1, 8);
  args.k_cache = input(0x20000, 4096, 2);
  args.v_cache = input(0x30000, 4096, 2);
  args.out = output(0x40000, 1, 8);
  args.batch = 2;
  args.max_len_k = 4096;
  args.heads_q = 8;
  args.heads_kv = 2;
  return args;
}

kiln_shared_prefix machine_shared_prefix(void) {
  kiln_shared_prefix prefix = kiln_shared_prefix_init();
  prefix.k = input(0x50000, 0, 2);
  prefix.v = input(0x60000, 0, 2);
  prefix.len = 5000;
  return prefix;
}

kiln_merge_args machine_merge_args(void) {
  kiln_merge_args args = kiln_merge_args_init();
  int i = 0;
  args.num_states = 2;
  args.batch = 3;
  args.len = 4;
  args.heads = 8;
  for (i = 0; i < args.num_states; ++i) {
    args.states[i].out = input(0x10000 + 0x1000 * (uintptr_t)i, 4, 8);
    args.states[i].lse.data = machine_address(0x20004 + 0x1000 * (uintptr_t)i);
    args.states[i].lse.strides = kiln_strides_bhsd(4, 8, 1);
  }
  args.out = output(0x40000, 4, 8);
  return args;
}
