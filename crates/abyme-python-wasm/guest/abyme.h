// What the C files of the guest share. GUEST.md describes the interface between guest and host.
#ifndef ABYME_H
#define ABYME_H

#define PY_SSIZE_T_CLEAN
#define Py_BUILD_CORE 1
#include "Python.h"
#include <stdint.h>

#define ABYME_IMPORT(name) __attribute__((import_module("abyme"), import_name(name)))
#define ABYME_EXPORT(name) __attribute__((export_name(name), visibility("default"), used))

// host.c: the module `_abyme_guest`.
PyObject *abyme_module_init(void);

// values.c: takes the message of `size` bytes that the host prepared. A new reference, or NULL with an
// exception.
PyObject *abyme_take(int32_t size);

// values.c: 0 if a value may be passed on to the host, whose memory it takes; -1 with an exception if it may
// not.
int abyme_check(PyObject *value);

// immortal.c: makes everything that exists immortal.
void abyme_make_all_immortal(void);

// heap.c: fills the holes of Python's heap.
void abyme_fill_holes(void);

// reserve.c: a reserve of memory, for the work that is left to do when the rest is full.
void abyme_use_reserve(void);
void abyme_restock_reserve(void);

// The version of marshal between guest and host: the last one without references between objects.
#define ABYME_MARSHAL_VERSION 2

#endif
