#define _XOPEN_SOURCE 700
#include "c_api/check.h"
#include "c_api/machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* That an option was taken shows in what a runtime made with it does. */
static void check_device(kiln_options* options, const char* says) {
  kiln_runtime* runtime = NULL;
  CHECK_OK(kiln_options_set(options, "cuda_path", KILN_FAKE_CUDA_PATH));
  CHECK_REFUSED(kiln_runtime_create(options, &runtime), says);
  CHECK(runtime == NULL);
  kiln_options_destroy(options);
}

static void takes_options_from_everywhere(void) {
  kiln_options* options = NULL;
  FILE* file = fopen(machine_path("kiln.json"), "w");
  fputs("{\"device\": 33}", file);
  fclose(file);

  CHECK_OK(kiln_options_create(&options));
  CHECK_OK(kiln_options_set(options, "device", "31"));
  check_device(options, "device 31 ");
  CHECK_OK(kiln_options_from_json("{\"device\": 32}", NULL, &options));
  check_device(options, "device 32 ");
  CHECK_OK(kiln_options_from_file(machine_path("kiln.json"), &options));
  check_device(options, "device 33 ");
  setenv("KILN_DEVICE", "34", 1);
  CHECK_OK(kiln_options_from_environment(&options));
  check_device(options, "device 34 ");
  CHECK_OK(kiln_options_from_json("{\"device\": 32}", NULL, &options));
  CHECK_OK(kiln_options_apply_environment(options));
  check_device(options, "device 34 ");
  CHECK_OK(kiln_options_create(&options));
  CHECK_OK(kiln_options_set(options, "device", "35"));
  check_device(options, "device 35 "); /* the environment is not read unasked */
  unsetenv("KILN_DEVICE");
}

static void refuses_bad_options(void) {
  kiln_options* options = NULL;
  CHECK_OK(kiln_options_create(&options));
  CHECK_REFUSED(kiln_options_set(options, "cache_dri", "/c"), "did you mean 'cache_dir'?");
  CHECK_REFUSED(kiln_options_set(options, "", ""), "known are device, cache_dir");
  CHECK_REFUSED(kiln_options_set(options, "jit", "maybe"), "jit: \"maybe\"");
  CHECK_REFUSED(kiln_options_set(options, "device", "1x"), "device: \"1x\"");
  CHECK_REFUSED(kiln_options_set(options, "device", "\xff\n"), "device: \"\\xff\\x0a\"");
  CHECK_REFUSED(kiln_options_set(options, "log_level", "loud"), "trace, debug, info, warning, error, off");
  kiln_options_destroy(options);

  options = machine_address(1);
  CHECK_REFUSED(kiln_options_from_json("{", NULL, &options), "options");
  CHECK(options == NULL);
  CHECK_REFUSED(kiln_options_from_json("{\"jit\": 3}", "engine.json", &options), "engine.json: jit");
  CHECK_FAILS(kiln_options_from_file(machine_path("none.json"), &options), KILN_ERROR_IO, "none.json");
  setenv("KILN_JIT", "perhaps", 1);
  CHECK_REFUSED(kiln_options_from_environment(&options), "KILN_JIT: \"perhaps\"");
  unsetenv("KILN_JIT");
  kiln_options_destroy(NULL);
}

typedef struct Lines {
  int count;
  int32_t level;
  char last[256];
} Lines;

static void keep_line(int32_t level, const char* line, void* user) {
  Lines* const lines = user;
  ++lines->count;
  lines->level = level;
  snprintf(lines->last, sizeof(lines->last), "%s", line);
}

static void logs_to_the_callback(void) {
  Lines lines = {0, -1, ""};
  kiln_options* options = NULL;
  CHECK_OK(kiln_options_create(&options));
  CHECK_OK(kiln_options_set_log(options, keep_line, &lines));
  setenv("KILN_CACHE_DIRR", "/c", 1);
  CHECK_OK(kiln_options_apply_environment(options));
  CHECK(lines.count == 1 && lines.level == KILN_LOG_WARNING);
  CHECK(strstr(lines.last, "did you mean KILN_CACHE_DIR?") != NULL);
  CHECK_OK(kiln_options_set(options, "log_level", "off"));
  CHECK_OK(kiln_options_apply_environment(options));
  CHECK(lines.count == 1);
  CHECK_OK(kiln_options_set_log(options, NULL, NULL));
  unsetenv("KILN_CACHE_DIRR");
  kiln_options_destroy(options);
}

void test_options(void) {
  takes_options_from_everywhere();
  refuses_bad_options();
  logs_to_the_callback();
}
