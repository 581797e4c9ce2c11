/* A C program with the installed package only: no C++ compiler, no driver, no GPU. Prints what main.cpp does. */
#include <kiln/kiln.h>

#include <stdio.h>

int main(void) {
  kiln_options* options = NULL;
  const kiln_status status = kiln_options_from_json("{\"no_such_option\": 1}", "options", &options);
  if (options != NULL || kiln_last_error()[0] == '\0') return 1;
  printf("%s %s %s\n", kiln_version(), kiln_version(), kiln_status_name(status));
  return 0;
}
