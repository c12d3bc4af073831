// Makes all objects of the base image immortal: CPython does not count references to immortal objects.
//
// A session is a copy of the base image, made page by page as pages are written. Code that looks at an object
// counts a reference to it, which is a write: without this, most of what a cell uses would be copied for
// every session. Freeing these objects would gain nothing, because their memory belongs to the base image.
#include "abyme.h"
#include "pycore_dict.h"
#include "pycore_gc.h"
#include "pycore_object.h"
#include "pycore_typeobject.h"
#include <stdint.h>
#include <stdlib.h>

// Objects are aligned to at least this many bytes.
#define ALIGNMENT 8

// One bit for each address where an object may be, and a stack of the objects to visit.
static uint8_t *marks;
static size_t marks_size;
static PyObject **stack;
static size_t depth, room;
static int no_memory;

// Marks an object. Returns whether it had no mark before.
static int mark(PyObject *object) {
    size_t index = (size_t)(uintptr_t)object / ALIGNMENT;
    if (index / 8 >= marks_size) return 0;
    uint8_t bit = (uint8_t)(1u << (index % 8));
    if (marks[index / 8] & bit) return 0;
    marks[index / 8] |= bit;
    return 1;
}

static int visit(PyObject *object, void *Py_UNUSED(unused)) {
    if (object == NULL || !mark(object)) return 0;
    if (depth == room) {
        size_t more = room ? 2 * room : 4096;
        PyObject **grown = realloc(stack, more * sizeof *stack);
        if (grown == NULL) {
            no_memory = 1;
            return 0;
        }
        stack = grown;
        room = more;
    }
    stack[depth++] = object;
    return 0;
}

static int visit_tracked(PyObject *object, void *unused) {
    visit(object, unused);
    return 1;
}

// Whether the object lives only while code runs.
static int is_passing(PyObject *object) {
    return PyFrame_Check(object) || PyGen_CheckExact(object) || PyCoro_CheckExact(object) ||
           Py_IS_TYPE(object, &PyTraceBack_Type);
}

// Visits what an object refers to. Code objects and static types hide that from the garbage collector.
static void visit_referents(PyObject *object) {
    if (PyCode_Check(object)) {
        PyCodeObject *code = (PyCodeObject *)object;
        PyObject *parts[] = {
            code->co_consts,          code->co_names,    code->co_exceptiontable, code->co_localsplusnames,
            code->co_localspluskinds, code->co_filename, code->co_name,           code->co_qualname,
            code->co_linetable,
        };
        for (size_t at = 0; at < sizeof parts / sizeof *parts; at++) visit(parts[at], NULL);
    } else if (PyType_Check(object) && !PyType_HasFeature((PyTypeObject *)object, Py_TPFLAGS_HEAPTYPE)) {
        PyTypeObject *type = (PyTypeObject *)object;
        visit(_PyType_GetDict(type), NULL);
        visit(type->tp_bases, NULL);
        visit(type->tp_mro, NULL);
    } else if (PyObject_IS_GC(object)) {
        traverseproc traverse = Py_TYPE(object)->tp_traverse;
        if (traverse != NULL) traverse(object, visit, NULL);
    }
    visit((PyObject *)Py_TYPE(object), NULL);
}

static void make_immortal(PyObject *object) {
    if (is_passing(object)) return;
    object->ob_refcnt = _Py_IMMORTAL_REFCNT;
    if (PyType_Check(object) && PyType_HasFeature((PyTypeObject *)object, Py_TPFLAGS_HEAPTYPE)) {
        // The keys that instances share are counted like objects, and may be immortal like them.
        PyDictKeysObject *keys = ((PyHeapTypeObject *)object)->ht_cached_keys;
        if (keys != NULL) keys->dk_refcnt = _Py_IMMORTAL_REFCNT;
    }
}

void abyme_make_all_immortal(void) {
    marks_size = (size_t)__builtin_wasm_memory_size(0) * 65536 / ALIGNMENT / 8;
    marks = calloc(marks_size, 1);
    if (marks == NULL) return;  // sessions then take more memory, and nothing else changes
    PyUnstable_GC_VisitObjects(visit_tracked, NULL);
    while (depth > 0 && !no_memory) {
        PyObject *object = stack[--depth];
        visit_referents(object);
        make_immortal(object);
    }
    free(stack);
    free(marks);
}
