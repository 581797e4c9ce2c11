#ifndef KILN_KILN_H
#define KILN_KILN_H

#include <kiln/export.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The version of the library that runs, "MAJOR.MINOR.PATCH". Never null; never freed. */
KILN_API const char* kiln_version(void);

#ifdef __cplusplus
}
#endif

#endif
