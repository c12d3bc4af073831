// The Python module `_abyme_guest`: the host functions that a session can call, and nothing else of the host.
#include "abyme.h"
#include "marshal.h"

ABYME_IMPORT("start") uint32_t host_start(const char *data, uint32_t size);
ABYME_IMPORT("wait") uint32_t host_wait(uint32_t call, double seconds);
ABYME_IMPORT("reply") int32_t host_reply(uint32_t call);
ABYME_IMPORT("output") void host_output(uint32_t stream, const char *data, uint32_t size);
ABYME_IMPORT("submit") void host_submit(const char *data, uint32_t size);
ABYME_IMPORT("raw") int32_t host_raw(uint32_t stream);

// The arguments of a call as the marshal data of a tuple. A new reference.
static PyObject *packed(PyObject *const *arguments, Py_ssize_t count, Py_ssize_t expected, const char *name) {
    if (count != expected) {
        PyErr_Format(PyExc_TypeError, "%s() takes %zd arguments, got %zd", name, expected, count);
        return NULL;
    }
    PyObject *tuple = PyTuple_New(count);
    if (tuple == NULL) return NULL;
    for (Py_ssize_t at = 0; at < count; at++) PyTuple_SET_ITEM(tuple, at, Py_NewRef(arguments[at]));
    PyObject *data = abyme_check(tuple) ? NULL : PyMarshal_WriteObjectToString(tuple, ABYME_MARSHAL_VERSION);
    Py_DECREF(tuple);
    return data;
}

static PyObject *guest_start(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count) {
    PyObject *data = packed(arguments, count, 3, "start");
    if (data == NULL) return NULL;
    uint32_t call = host_start(PyBytes_AS_STRING(data), (uint32_t)PyBytes_GET_SIZE(data));
    Py_DECREF(data);
    if (call == 0) {
        PyErr_SetString(PyExc_RuntimeError,
                        "the call was refused: too many calls are in flight, or they hold too much");
        return NULL;
    }
    return PyLong_FromUnsignedLong(call);
}

static PyObject *guest_wait(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count) {
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "wait() takes a call and seconds");
        return NULL;
    }
    unsigned long call = PyLong_AsUnsignedLong(arguments[0]);
    double seconds = PyFloat_AsDouble(arguments[1]);
    if (PyErr_Occurred()) return NULL;
    uint32_t done = host_wait((uint32_t)call, seconds);
    if (done == 0 && PyErr_CheckSignals()) return NULL;
    return PyLong_FromUnsignedLong(done);
}

static PyObject *guest_reply(PyObject *Py_UNUSED(module), PyObject *argument) {
    unsigned long call = PyLong_AsUnsignedLong(argument);
    if (PyErr_Occurred()) return NULL;
    int32_t size = host_reply((uint32_t)call);
    if (size < 0) {
        PyErr_SetString(PyExc_RuntimeError, "the call is not finished, or its reply was taken");
        return NULL;
    }
    return abyme_take(size);
}

static PyObject *guest_output(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count) {
    if (count != 2 || !PyUnicode_Check(arguments[1])) {
        PyErr_SetString(PyExc_TypeError, "output() takes a stream and a text");
        return NULL;
    }
    unsigned long stream = PyLong_AsUnsignedLong(arguments[0]);
    if (PyErr_Occurred()) return NULL;
    Py_ssize_t size;
    const char *text = PyUnicode_AsUTF8AndSize(arguments[1], &size);
    if (text != NULL) {
        host_output((uint32_t)stream, text, (uint32_t)size);
        Py_RETURN_NONE;
    }
    // Lone surrogates have no UTF-8: they become `?`, as everywhere in Abyme.
    PyErr_Clear();
    PyObject *bytes = PyUnicode_AsEncodedString(arguments[1], "utf-8", "replace");
    if (bytes == NULL) return NULL;
    host_output((uint32_t)stream, PyBytes_AS_STRING(bytes), (uint32_t)PyBytes_GET_SIZE(bytes));
    Py_DECREF(bytes);
    Py_RETURN_NONE;
}

static PyObject *guest_submit(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count) {
    PyObject *data = packed(arguments, count, 3, "submit");
    if (data == NULL) return NULL;
    host_submit(PyBytes_AS_STRING(data), (uint32_t)PyBytes_GET_SIZE(data));
    Py_DECREF(data);
    Py_RETURN_NONE;
}

static PyObject *guest_raw(PyObject *Py_UNUSED(module), PyObject *argument) {
    unsigned long stream = PyLong_AsUnsignedLong(argument);
    if (PyErr_Occurred()) return NULL;
    int32_t size = host_raw((uint32_t)stream);
    if (size <= 0) Py_RETURN_NONE;
    return abyme_take(size);
}

#define FAST(function) (PyCFunction)(void (*)(void))(function), METH_FASTCALL

static PyMethodDef methods[] = {
    {"start", FAST(guest_start), "start(name, args, kwargs): begins a host call and answers its number."},
    {"wait", FAST(guest_wait),
     "wait(call, seconds): until the call, or with 0 any call, is finished; 0 if none is."},
    {"reply", (PyCFunction)guest_reply, METH_O, "reply(call): (True, value) or (False, [type, message])."},
    {"output", FAST(guest_output), "output(stream, text): the next piece of stdout (0) or stderr (1)."},
    {"submit", FAST(guest_submit), "submit(via, fields, value)."},
    {"raw", (PyCFunction)guest_raw, METH_O, "raw(stream): what was written to the descriptor, or None."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_abyme_guest", "The functions of the host that a session can call.", -1, methods,
};

PyObject *abyme_module_init(void) { return PyModule_Create(&definition); }
