/* Kiln as a C program meets it: the shared library, its header and nothing of C++. */
#include "c_api/check.h"
#include "c_api/machine.h"

#include <stdio.h>
#include <string.h>

static int failed;

void check(int holds, const char* file, int line, const char* what) {
  if (holds) return;
  ++failed;
  fprintf(stderr, "%s:%d: %s\n", file, line, what);
}

void check_status(kiln_status got, kiln_status wanted, const char* text, const char* file, int line, const char* what) {
  const char* const said = got == KILN_OK ? "" : kiln_last_error();
  if (got == wanted && strstr(said, text) != NULL) return;
  ++failed;
  fprintf(stderr, "%s:%d: %s: is %s, \"%s\"; wanted %s, \"%s\"\n", file, line, what, kiln_status_name(got), said,
          kiln_status_name(wanted), text);
}

int failed_checks(void) { return failed; }

int main(void) {
  void (*const tests[])(void) = {test_layout, test_options, test_kernels, test_preparations,
                                 test_errors, test_nulls,   test_structs};
  size_t i = 0;
  machine_start();
  for (i = 0; i < sizeof(tests) / sizeof(tests[0]); ++i) {
    machine_reset();
    tests[i]();
    CHECK(fake.live_libraries() == 0);
  }
  machine_end();
  if (failed_checks() > 0) {
    fprintf(stderr, "%d checks failed\n", failed_checks());
    return 1;
  }
  printf("kiln %s for C: all checks hold\n", kiln_version());
  return 0;
}
