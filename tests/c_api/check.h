/* What the C program checks with. A failed check is told and counted; the program goes on. */
#ifndef KILN_TESTS_C_API_CHECK_H
#define KILN_TESTS_C_API_CHECK_H

#include <kiln/kiln.h>

#define CHECK(condition) check((condition) != 0, __FILE__, __LINE__, #condition)
#define CHECK_OK(call) check_status((call), KILN_OK, "", __FILE__, __LINE__, #call)
/* The call fails with this status, and its error text has this in it. */
#define CHECK_FAILS(call, status, text) check_status((call), (status), (text), __FILE__, __LINE__, #call)
#define CHECK_REFUSED(call, text) CHECK_FAILS(call, KILN_ERROR_INVALID_ARGUMENT, text)

void check(int holds, const char* file, int line, const char* what);
void check_status(kiln_status got, kiln_status wanted, const char* text, const char* file, int line, const char* what);
int failed_checks(void);

void test_layout(void);       /* sizes and offsets, which programs already built rely on */
void test_options(void);      /* options by key, JSON, file, environment; the log */
void test_kernels(void);      /* runtime, kernels, launches as the driver sees them */
void test_preparations(void); /* prepare in the background: wait, done, cancel */
void test_errors(void);       /* every status, its text, and whose text it is */
void test_nulls(void);        /* every pointer that must not be null */
void test_structs(void);      /* struct_size, and values that no enumeration has */

#endif
