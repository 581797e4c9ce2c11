#define _XOPEN_SOURCE 700
#include "c_api/check.h"
#include "c_api/machine.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static void names_every_status(void) {
  static const char* const names[] = {
      "ok", "invalid_argument", "unsupported", "missing_kernel", "capturing", "compile", "cuda", "io", "cancelled"};
  kiln_status status = KILN_OK;
  for (status = KILN_OK; status <= KILN_ERROR_CANCELLED; ++status)
    CHECK(strcmp(kiln_status_name(status), names[status]) == 0);
  CHECK(strcmp(kiln_status_name(KILN_ERROR_OUT_OF_MEMORY), "out_of_memory") == 0);
  CHECK(strcmp(kiln_status_name(KILN_ERROR_INTERNAL), "internal") == 0);
  CHECK(strcmp(kiln_status_name(-1), "unknown") == 0 && strcmp(kiln_status_name(99), "unknown") == 0);
  CHECK(strcmp(kiln_status_name(INT32_MAX), "unknown") == 0 && strcmp(kiln_status_name(INT32_MIN), "unknown") == 0);
}

static void every_failure_has_its_status(void) {
  kiln_attention_config config = kiln_attention_config_init();
  kiln_forward_args args = machine_forward_args();
  kiln_options* const options = machine_options();
  kiln_runtime* const runtime = machine_runtime();
  kiln_runtime* other = NULL;
  kiln_forward_kernel* kernel = NULL;
  kiln_shared_prefix_decode* decode = machine_address(1);
  kiln_stream stream = NULL;

  setenv("NVRTC_SHIM_FAIL", "compile", 1);
  CHECK_FAILS(kiln_forward_get(runtime, &config, &kernel), KILN_ERROR_COMPILE, "forward_bf16_d128");
  unsetenv("NVRTC_SHIM_FAIL");
  CHECK(fake.begin_stream(&stream, 0) == 0 && fake.begin_capture(stream, 2) == 0);
  CHECK_FAILS(kiln_runtime_launch_forward(runtime, &config, stream, &args), KILN_ERROR_CAPTURING, "prepare");
  fake.context_set_current(NULL);
  CHECK_FAILS(kiln_runtime_launch_forward(runtime, &config, NULL, &args), KILN_ERROR_CUDA, "context");
  fake.context_set_current(fake.context_create(0)); /* where nothing is being captured */
  CHECK_OK(kiln_forward_get(runtime, &config, &kernel));
  fake.fail("cuLaunchKernelEx", 719, 0, 1);
  CHECK_FAILS(kiln_forward_launch(kernel, NULL, &args), KILN_ERROR_CUDA, "719");
  args.heads_kv = 3;
  CHECK_REFUSED(kiln_forward_launch(kernel, NULL, &args), "heads_q 8 is not a multiple of heads_kv 3");
  kiln_forward_release(kernel);
  config.head_dim_qk = 84;
  CHECK_FAILS(kiln_forward_get(runtime, &config, &kernel), KILN_ERROR_UNSUPPORTED, "head_dim_qk 84");
  CHECK(kernel == NULL);
  config.head_dim_qk = 128;
  config.alibi = 1;
  CHECK_FAILS(kiln_shared_prefix_get(runtime, &config, &decode), KILN_ERROR_UNSUPPORTED, "alibi is not supported");
  CHECK(decode == NULL);
  config.alibi = 0;
  CHECK_OK(kiln_options_set(options, "jit", "off"));
  CHECK_OK(kiln_runtime_create(options, &other));
  CHECK_FAILS(kiln_forward_get(other, &config, &kernel), KILN_ERROR_MISSING_KERNEL, "kiln precompile --kind forward");
  kiln_runtime_destroy(other);
  CHECK_OK(kiln_options_set(options, "cuda_path", machine_path("no-such-libcuda")));
  CHECK_FAILS(kiln_runtime_create(options, &other), KILN_ERROR_CUDA, "no-such-libcuda");
  kiln_runtime_destroy(runtime);
  kiln_options_destroy(options);
}

static void calls_that_go_well_leave_the_text(void) {
  kiln_options* options = NULL;
  CHECK_REFUSED(kiln_options_create(NULL), "options is null");
  CHECK_OK(kiln_options_create(&options));
  kiln_options_destroy(options);
  CHECK(strcmp(kiln_last_error(), "options is null") == 0);
}

/* Longer than what a thread keeps: cut, and said to be. */
static void a_long_text_is_cut(void) {
  enum { kLong = 100000 };
  char* const path = malloc(kLong + 1);
  kiln_options* options = NULL;
  memset(path, 'x', kLong);
  path[kLong] = '\0';
  CHECK_FAILS(kiln_options_from_file(path, &options), KILN_ERROR_IO, "xxx");
  CHECK(strlen(kiln_last_error()) == 4095 && strcmp(kiln_last_error() + 4092, "...") == 0);
  free(path);
}

typedef struct Worker {
  pthread_t thread;
  pthread_mutex_t* turn; /* so that the one's errors come between the other's */
  const kiln_forward_kernel* kernel;
  const char* key;
} Worker;

static void* work(void* argument) {
  const Worker* const worker = argument;
  const kiln_forward_args args = machine_forward_args();
  kiln_options* options = NULL;
  int i = 0;
  const char* const text = kiln_last_error();
  fake.context_set_current(fake.context_create(0));
  pthread_mutex_lock(worker->turn); /* CHECK counts without a lock of its own */
  CHECK(strcmp(text, "") == 0);
  CHECK_OK(kiln_options_create(&options));
  for (i = 0; i < 100; ++i) {
    CHECK_REFUSED(kiln_options_set(options, worker->key, "/c"), worker->key);
    pthread_mutex_unlock(worker->turn);
    CHECK_OK(kiln_forward_launch(worker->kernel, NULL, &args));
    pthread_mutex_lock(worker->turn);
    CHECK(strstr(kiln_last_error(), worker->key) != NULL);
    CHECK(text == kiln_last_error());
  }
  kiln_options_destroy(options);
  pthread_mutex_unlock(worker->turn);
  return NULL;
}

static void each_thread_has_its_own_text(void) {
  pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
  const kiln_attention_config config = kiln_attention_config_init();
  kiln_runtime* const runtime = machine_runtime();
  kiln_forward_kernel* kernel = NULL;
  Worker workers[2];
  const int launches = fake.launch_count();
  int i = 0;
  CHECK_OK(kiln_forward_get(runtime, &config, &kernel));
  CHECK_REFUSED(kiln_runtime_stats(NULL, NULL), "runtime is null");
  for (i = 0; i < 2; ++i) {
    workers[i].turn = &turn;
    workers[i].kernel = kernel;
    workers[i].key = i == 0 ? "zeroth" : "first";
    CHECK(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
  }
  for (i = 0; i < 2; ++i) pthread_join(workers[i].thread, NULL);
  CHECK(strcmp(kiln_last_error(), "runtime is null") == 0);
  CHECK(fake.launch_count() == launches + 200);
  kiln_forward_release(kernel);
  kiln_runtime_destroy(runtime);
}

void test_errors(void) {
  names_every_status();
  every_failure_has_its_status();
  calls_that_go_well_leave_the_text();
  a_long_text_is_cut();
  each_thread_has_its_own_text();
}
