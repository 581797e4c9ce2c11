#define _XOPEN_SOURCE 700
#include "c_api/check.h"
#include "c_api/machine.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { kRequests = 3 };

typedef struct Requests {
  kiln_attention_config configs[kRequests];
  kiln_kernel_request requests[kRequests];
} Requests;

static void three_kernels(Requests* out) {
  int i = 0;
  for (i = 0; i < kRequests; ++i) {
    out->configs[i] = kiln_attention_config_init();
    out->requests[i] = kiln_kernel_request_init();
    out->requests[i].config = &out->configs[i];
  }
  out->configs[1].causal = 1;
  out->requests[2].kind = KILN_KIND_DECODE;
}

static kiln_runtime* runtime_of_two_jobs(void) {
  kiln_options* const options = machine_options();
  kiln_runtime* runtime = NULL;
  CHECK_OK(kiln_options_set(options, "device", "0")); /* Kiln's threads have no current context */
  CHECK_OK(kiln_options_set(options, "compile_jobs", "2"));
  CHECK_OK(kiln_runtime_create(options, &runtime));
  kiln_options_destroy(options);
  return runtime;
}

static void wait_for_compiles(int count) {
  const struct timespec a_moment = {0, 1000000};
  while (machine_compiles() < count) nanosleep(&a_moment, NULL);
}

typedef struct Reports {
  pthread_t asking;
  int foreign; /* from another thread than the one that asked */
  int32_t done;
  int32_t total;
  size_t struct_size;
} Reports;

static void keep_report(const kiln_progress* progress, void* user) {
  Reports* const reports = user;
  reports->foreign += !pthread_equal(pthread_self(), reports->asking);
  reports->done = progress->done;
  reports->total = progress->total;
  reports->struct_size = progress->struct_size;
}

static void makes_all_ready(void) {
  kiln_runtime* const runtime = runtime_of_two_jobs();
  kiln_preparation* preparation = NULL;
  kiln_forward_kernel* kernel = NULL;
  Requests* const three = malloc(sizeof(*three));
  kiln_attention_config causal = kiln_attention_config_init();
  Reports reports;
  int32_t done = 0;
  memset(&reports, 0, sizeof(reports));
  reports.asking = pthread_self();
  causal.causal = 1;
  three_kernels(three);
  CHECK_OK(kiln_runtime_prepare_async(runtime, three->requests, kRequests, keep_report, &reports, &preparation));
  free(three); /* it was read */
  CHECK_OK(kiln_preparation_wait(preparation));
  CHECK_OK(kiln_preparation_done(preparation, &done));
  CHECK(done == 1);
  CHECK(reports.done == 3 && reports.total == 3 && reports.foreign >= 1);
  CHECK(reports.struct_size == sizeof(kiln_progress));
  CHECK_OK(kiln_preparation_cancel(preparation)); /* too late to change anything */
  CHECK_OK(kiln_preparation_wait(preparation));
  CHECK_OK(kiln_forward_get(runtime, &causal, &kernel));
  CHECK(machine_compiles() == 3);
  kiln_forward_release(kernel);
  kiln_preparation_destroy(preparation);
  kiln_runtime_destroy(runtime);
}

/* Compiles that would take longer than a test may: only a cancel ends them in time. */
static void cancelling_leaves_the_rest_unmade(void) {
  kiln_runtime* const runtime = runtime_of_two_jobs();
  kiln_preparation* preparation = NULL;
  kiln_stats stats = kiln_stats_init();
  Requests three;
  int32_t done = 1;
  const time_t start = time(NULL);
  const int before = machine_compiles();
  three_kernels(&three);
  setenv("NVRTC_SHIM_DELAY_MS", "60000", 1);
  CHECK_OK(kiln_runtime_prepare_async(runtime, three.requests, kRequests, NULL, NULL, &preparation));
  wait_for_compiles(before + 2);
  CHECK_OK(kiln_preparation_done(preparation, &done));
  CHECK(done == 0);
  CHECK_OK(kiln_preparation_cancel(preparation));
  CHECK_FAILS(kiln_preparation_wait(preparation), KILN_ERROR_CANCELLED, "0 of 3");
  CHECK_FAILS(kiln_preparation_wait(preparation), KILN_ERROR_CANCELLED, "0 of 3");
  CHECK_OK(kiln_preparation_done(preparation, &done));
  CHECK(done == 1);
  CHECK_OK(kiln_runtime_stats(runtime, &stats));
  CHECK(stats.compiles == 0 && machine_compiles() == before + 2);
  kiln_preparation_destroy(preparation);

  /* Destroying cancels too, and needs no runtime any more. */
  CHECK_OK(kiln_runtime_prepare_async(runtime, three.requests, kRequests, NULL, NULL, &preparation));
  kiln_runtime_destroy(runtime);
  wait_for_compiles(before + 3);
  kiln_preparation_destroy(preparation);
  CHECK(difftime(time(NULL), start) < 30);
  unsetenv("NVRTC_SHIM_DELAY_MS");
}

static void failures_come_with_wait(void) {
  kiln_runtime* const runtime = runtime_of_two_jobs();
  kiln_preparation* preparation = NULL;
  Requests three;
  three_kernels(&three);
  setenv("NVRTC_SHIM_FAIL", "compile", 1);
  CHECK_OK(kiln_runtime_prepare_async(runtime, three.requests, 1, NULL, NULL, &preparation));
  CHECK_FAILS(kiln_preparation_wait(preparation), KILN_ERROR_COMPILE, "forward_bf16_d128");
  unsetenv("NVRTC_SHIM_FAIL");
  kiln_preparation_destroy(preparation);

  three.requests[1].reserved = 1; /* what can be seen at once is said at once */
  preparation = machine_address(1);
  CHECK_REFUSED(kiln_runtime_prepare_async(runtime, three.requests, kRequests, NULL, NULL, &preparation),
                "requests[1]: reserved is 1");
  CHECK(preparation == NULL);
  kiln_runtime_destroy(runtime);
}

/* What a callback does with the preparation that reports to it. */
typedef struct Meddler {
  pthread_mutex_t handed_over; /* locked until the handle is there */
  kiln_preparation* preparation;
  kiln_status waited, cancelled;
} Meddler;

static void wait_and_cancel(const kiln_progress* progress, void* user) {
  Meddler* const meddler = user;
  (void)progress;
  pthread_mutex_lock(&meddler->handed_over);
  meddler->waited = kiln_preparation_wait(meddler->preparation);
  meddler->cancelled = kiln_preparation_cancel(meddler->preparation);
  pthread_mutex_unlock(&meddler->handed_over);
}

static void a_callback_may_cancel_but_not_wait(void) {
  kiln_runtime* const runtime = runtime_of_two_jobs();
  Meddler meddler = {PTHREAD_MUTEX_INITIALIZER, NULL, KILN_OK, KILN_ERROR_INTERNAL};
  Requests three;
  three_kernels(&three);
  pthread_mutex_lock(&meddler.handed_over);
  CHECK_OK(kiln_runtime_prepare_async(runtime, three.requests, 1, wait_and_cancel, &meddler, &meddler.preparation));
  pthread_mutex_unlock(&meddler.handed_over);
  CHECK_OK(kiln_preparation_wait(meddler.preparation)); /* the one kernel was made before */
  CHECK(meddler.waited == KILN_ERROR_UNSUPPORTED && meddler.cancelled == KILN_OK);
  kiln_preparation_destroy(meddler.preparation);
  kiln_runtime_destroy(runtime);
}

void test_preparations(void) {
  makes_all_ready();
  cancelling_leaves_the_rest_unmade();
  failures_come_with_wait();
  a_callback_may_cancel_but_not_wait();
}
