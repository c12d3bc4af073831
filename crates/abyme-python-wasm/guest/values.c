// Values that come from the host: marshal data, and long texts that the host writes straight into Python's
// memory.
#include "abyme.h"
#include "marshal.h"
#include <stdlib.h>

ABYME_IMPORT("longs") uint32_t host_longs(void);
ABYME_IMPORT("long") void host_long(uint32_t at, uint32_t *size_and_kind);
ABYME_IMPORT("fill") void host_fill(uint32_t at, void *to);
ABYME_IMPORT("copy") void host_copy(char *to);

// The long objects of a message, in the order of their marks in the data, and how many of them are used
// already.
static PyObject *made;
static Py_ssize_t used;

static int keep(PyObject *object) {
    if (made == NULL && (made = PyList_New(0)) == NULL) {
        Py_DECREF(object);
        return -1;
    }
    int failed = PyList_Append(made, object);
    Py_DECREF(object);
    return failed;
}

// A text of `chars` characters, none above `max_char`; NULL if there is no memory.
static void *make_text(uint32_t chars, uint32_t max_char) {
    PyObject *text = PyUnicode_New((Py_ssize_t)chars, (Py_UCS4)max_char);
    if (text == NULL) return NULL;
    void *data = PyUnicode_DATA(text);
    return keep(text) ? NULL : data;
}

static void *make_bytes(uint32_t size) {
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (bytes == NULL) return NULL;
    void *data = PyBytes_AS_STRING(bytes);
    return keep(bytes) ? NULL : data;
}

// Makes the long objects of a message and lets the host fill them in.
static int make_all(void) {
    uint32_t count = host_longs();
    for (uint32_t at = 0; at < count; at++) {
        uint32_t size_and_kind[2];
        host_long(at, size_and_kind);
        uint32_t size = size_and_kind[0], kind = size_and_kind[1];
        void *data = kind ? make_text(size, kind) : make_bytes(size);
        if (data == NULL) return -1;
        host_fill(at, data);
    }
    return 0;
}

static void forget_made(void) {
    Py_CLEAR(made);
    used = 0;
}

// The next long object, for a mark. A new reference.
static PyObject *next_made(void) {
    if (made == NULL || used >= PyList_GET_SIZE(made)) {
        PyErr_SetString(PyExc_SystemError, "the host sent fewer texts than marks");
        return NULL;
    }
    return Py_NewRef(PyList_GET_ITEM(made, used++));
}

// Puts the long objects in place of the marks (Ellipsis, which is no value of Abyme). Takes over `value`, and
// returns the value that replaces it.
static PyObject *fill(PyObject *value) {
    if (value == Py_Ellipsis) {
        Py_DECREF(value);
        return next_made();
    }
    if (PyList_CheckExact(value) || PyTuple_CheckExact(value)) {
        PyObject **items = PySequence_Fast_ITEMS(value);
        Py_ssize_t size = PySequence_Fast_GET_SIZE(value);
        for (Py_ssize_t at = 0; at < size; at++) {
            PyObject *item = fill(items[at]);
            if (item == NULL) {
                items[at] = Py_NewRef(Py_None);  // `fill` has released the old one
                Py_DECREF(value);
                return NULL;
            }
            items[at] = item;
        }
    } else if (PyDict_CheckExact(value)) {
        PyObject *key, *item;
        Py_ssize_t at = 0;
        while (PyDict_Next(value, &at, &key, &item)) {
            PyObject *filled = fill(Py_NewRef(item));
            // Setting a key that is there does not disturb the iteration.
            if (filled == NULL || (filled != item && PyDict_SetItem(value, key, filled))) {
                Py_XDECREF(filled);
                Py_DECREF(value);
                return NULL;
            }
            Py_DECREF(filled);
        }
    }
    return value;
}

// How many containers and items a value may have: on the host each takes some ten times its size in a
// message.
#define MAX_PARTS 4000000

static int count(PyObject *value, Py_ssize_t *parts) {
    if (++*parts > MAX_PARTS) {
        PyErr_Format(PyExc_ValueError,
                     "a value of more than %d parts is too large to pass on; pass it as text, or less of it",
                     MAX_PARTS);
        return -1;
    }
    int failed = 0;
    if (PyList_CheckExact(value) || PyTuple_CheckExact(value)) {
        if (Py_EnterRecursiveCall(" while passing a value on")) return -1;
        for (Py_ssize_t at = 0; !failed && at < PySequence_Fast_GET_SIZE(value); at++) {
            failed = count(PySequence_Fast_GET_ITEM(value, at), parts);
        }
        Py_LeaveRecursiveCall();
    } else if (PyDict_CheckExact(value)) {
        if (Py_EnterRecursiveCall(" while passing a value on")) return -1;
        PyObject *key, *item;
        Py_ssize_t at = 0;
        while (!failed && PyDict_Next(value, &at, &key, &item)) failed = count(item, parts);
        Py_LeaveRecursiveCall();
    }
    return failed;
}

int abyme_check(PyObject *value) {
    Py_ssize_t parts = 0;
    return count(value, &parts);
}

PyObject *abyme_take(int32_t size) {
    if (size < 0) {
        PyErr_SetString(PyExc_MemoryError, "a message from the host is too large for a 32-bit Python");
        return NULL;
    }
    PyObject *value = NULL;
    char *data = malloc(size > 0 ? (size_t)size : 1);
    if (data != NULL) {
        host_copy(data);
        if (make_all() == 0) value = PyMarshal_ReadObjectFromString(data, size);
        free(data);
        if (value != NULL && made != NULL) value = fill(value);
        forget_made();
    }
    if (value == NULL && (data == NULL || PyErr_ExceptionMatches(PyExc_MemoryError))) {
        PyErr_SetString(PyExc_MemoryError,
                        "a value from the host does not fit what is left of the session's memory");
    }
    return value;
}
