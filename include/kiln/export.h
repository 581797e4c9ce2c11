#ifndef KILN_EXPORT_H
#define KILN_EXPORT_H

/** Marks what the shared library exports. */
#define KILN_API __attribute__((visibility("default")))

#endif
