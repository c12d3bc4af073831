// CPython's start, before the base image is taken, and the functions by which the host runs cells.
#include "abyme.h"
#include "marshal.h"
#include "pycore_ceval.h"
#include "pycore_interp.h"
#include "pycore_pystate.h"
#include "pycore_runtime.h"
#include <signal.h>
#include <stdio.h>

ABYME_IMPORT("request") int32_t host_request(void);
ABYME_IMPORT("answer") void host_answer(const char *data, uint32_t size);

static PyObject *run;  // `_abyme_wasm.run`

static int failed(const char *what) {
    if (PyErr_Occurred()) PyErr_Print();
    fprintf(stderr, "CPython cannot be started: %s\n", what);
    return -1;
}

static PyStatus configure(PyConfig *config) {
    PyConfig_InitIsolatedConfig(config);
    config->site_import = 0;  // there are no site packages; Python code adds what `site` adds to the builtins
    config->write_bytecode = 0;
    config->install_signal_handlers = 1;
    config->pathconfig_warnings = 0;
    config->use_hash_seed = 1;  // the base image holds hashes, so all sessions of a machine share the seed
    config->hash_seed = 0;
    config->module_search_paths_set = 1;
    const struct {
        wchar_t **field;
        const wchar_t *value;
    } texts[] = {
        {&config->program_name, L"python"},          {&config->home, L"/"},
        {&config->prefix, L"/"},                     {&config->base_prefix, L"/"},
        {&config->exec_prefix, L"/"},                {&config->base_exec_prefix, L"/"},
        {&config->executable, L""},                  {&config->base_executable, L""},
        {&config->stdlib_dir, L"/lib/python3.13"},
    };
    for (size_t at = 0; at < sizeof texts / sizeof *texts; at++) {
        PyStatus status = PyConfig_SetString(config, texts[at].field, texts[at].value);
        if (PyStatus_Exception(status)) return status;
    }
    PyStatus status = PyWideStringList_Append(&config->module_search_paths, L"/abyme");
    if (PyStatus_Exception(status)) return status;
    return PyWideStringList_Append(&config->module_search_paths, L"/lib/python3.13");
}

// Called once, before the base image is taken.
ABYME_EXPORT("abyme_init") int32_t abyme_init(void) {
    PyPreConfig preconfig;
    PyPreConfig_InitIsolatedConfig(&preconfig);
    preconfig.utf8_mode = 1;
    PyStatus status = Py_PreInitialize(&preconfig);
    if (PyStatus_Exception(status)) return failed(status.err_msg);
    abyme_use_reserve();
    if (PyImport_AppendInittab("_abyme_guest", abyme_module_init)) return failed("no memory for a module");
    PyConfig config;
    status = configure(&config);
    if (!PyStatus_Exception(status)) status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    if (PyStatus_Exception(status)) return failed(status.err_msg);
    PyObject *module = PyImport_ImportModule("_abyme_wasm");
    if (module == NULL) return failed("the session's own modules cannot be imported");
    run = PyObject_GetAttrString(module, "run");
    Py_DECREF(module);
    if (run == NULL) return failed("_abyme_wasm has no `run`");
    abyme_make_all_immortal();
    abyme_fill_holes();
    abyme_restock_reserve();
    return 0;
}

// Where the host has to write so that SIGINT's handler runs before the next bytecode: three addresses, and
// the bit for the third.
ABYME_EXPORT("abyme_interrupt") uint32_t *abyme_interrupt(void) {
    static uint32_t cells[4];
    cells[0] = (uint32_t)(uintptr_t)&_PyRuntime.signals.handlers[SIGINT].tripped;
    cells[1] = (uint32_t)(uintptr_t)&_PyRuntime.signals.is_tripped;
    cells[2] = (uint32_t)(uintptr_t)&PyThreadState_Get()->eval_breaker;
    cells[3] = _PY_SIGNALS_PENDING_BIT;
    return cells;
}

// Runs the cell that the host prepared, and hands its result to the host. Returns 0 if that worked, 1 if the
// request does not fit the memory and nothing ran, -1 if the driver failed, with a traceback on stderr.
ABYME_EXPORT("abyme_run") int32_t abyme_run(void) {
    abyme_restock_reserve();
    PyObject *request = abyme_take(host_request());
    if (request == NULL && PyErr_ExceptionMatches(PyExc_MemoryError)) {
        PyErr_Clear();
        return 1;
    }
    PyObject *done = request == NULL ? NULL : PyObject_CallOneArg(run, request);
    Py_XDECREF(request);
    PyObject *data = done == NULL ? NULL : PyMarshal_WriteObjectToString(done, ABYME_MARSHAL_VERSION);
    Py_XDECREF(done);
    if (data == NULL) {
        PyErr_Print();
        return -1;
    }
    host_answer(PyBytes_AS_STRING(data), (uint32_t)PyBytes_GET_SIZE(data));
    Py_DECREF(data);
    return 0;
}
