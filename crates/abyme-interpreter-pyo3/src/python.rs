//! Python in this process: the first session starts it, once.
//!
//! CPython exists once per process, so what runs is kept in a static.

use std::{
    ffi::CString,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc},
};

use abyme_core::{Error, ErrorKind, Result};
use abyme_driver::python::DRIVER;
use pyo3::{
    ffi,
    prelude::*,
    types::{PyDict, PyModule},
};
use tokio::sync::oneshot;

use crate::spin::SpinLimit;

/// The Python files of this backend itself.
const OWN: &[(&str, &str)] = &[
    ("threads", include_str!("../python/threads.py")),
    ("proxies", include_str!("../python/proxies.py")),
    ("session", include_str!("../python/session.py")),
];
const LOAD: &str = include_str!("../python/load.py");

/// Work for the thread that Python was started in.
type PythonJob = Box<dyn FnOnce() + Send>;

static RUNNING: Mutex<Option<RunningPython>> = Mutex::new(None);

/// The running Python.
#[derive(Clone, Debug)]
pub(crate) struct RunningPython {
    venv: Option<PathBuf>,
    /// To the thread that Python calls its main thread. It waits for Python's lock, which tasks must not do.
    jobs: mpsc::Sender<PythonJob>,
    module: Arc<Py<PyAny>>,
    spin: SpinLimit,
}

impl RunningPython {
    /// Starts Python unless it runs already.
    pub(crate) async fn get(venv: Option<PathBuf>) -> Result<Self> {
        let (answer, started) = oneshot::channel();
        // A thread of its own: starting takes milliseconds, and importing waits for Python's lock.
        std::thread::Builder::new()
            .name("abyme-python".to_owned())
            .spawn(move || start(venv, answer))
            .map_err(|error| unavailable(format!("no thread for Python: {error}")))?;
        started.await.map_err(|_| unavailable("Python could not be started"))?
    }

    /// The module `session`.
    pub(crate) fn module(&self) -> Arc<Py<PyAny>> {
        self.module.clone()
    }

    /// How long threads and tasks may spin on this machine.
    pub(crate) fn spin(&self) -> SpinLimit {
        self.spin
    }

    /// Runs `work` in a thread that may wait for Python's lock.
    pub(crate) fn later(&self, work: impl FnOnce() + Send + 'static) {
        // The thread lives as long as the process.
        let _ = self.jobs.send(Box::new(work));
    }
}

/// Starts Python, sends it to `answer`, and becomes the thread for jobs. If Python runs already, sends that
/// instead.
fn start(venv: Option<PathBuf>, answer: oneshot::Sender<Result<RunningPython>>) {
    let (jobs, queue) = mpsc::channel::<PythonJob>();
    let start_once = || {
        let venv = venv.map(|directory| usable_environment(&directory)).transpose()?;
        let mut slot = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        match &*slot {
            Some(running) if venv.is_some() && running.venv != venv => {
                Err(other_environment(running, venv.as_deref()))
            }
            Some(running) => Ok((running.clone(), false)),
            None => first_start(venv, jobs).map(|running| (slot.insert(running).clone(), true)),
        }
    };
    match start_once() {
        Ok((running, is_first)) => {
            let _ = answer.send(Ok(running));
            if is_first {
                while let Ok(job) = queue.recv() {
                    job();
                }
            }
        }
        Err(error) => {
            let _ = answer.send(Err(error));
        }
    }
}

fn first_start(venv: Option<PathBuf>, jobs: mpsc::Sender<PythonJob>) -> Result<RunningPython> {
    if is_running() {
        if venv.is_some() {
            return Err(Error::new(
                ErrorKind::Config,
                "this program has started Python itself, so `venv` comes too late: leave it out, and \
                 activate the virtual environment where Python is started",
            ));
        }
    } else {
        let linked = PathBuf::from(env!("ABYME_PYTHON_EXECUTABLE"));
        let executable = match &venv {
            Some(directory) => Some(executable_of(directory)),
            None => linked.exists().then_some(linked),
        };
        initialize(executable.as_deref())?;
    }
    let module = Python::attach(load)
        .map_err(|error| unavailable(format!("the driver cannot be loaded into this Python: {error}")))?;
    Ok(RunningPython { venv, jobs, module: Arc::new(module), spin: SpinLimit::of_this_machine() })
}

/// Compiles the driver and installs the proxies for what sessions share.
fn load(py: Python<'_>) -> PyResult<Py<PyAny>> {
    let loader = PyModule::from_code(py, CString::new(LOAD)?.as_c_str(), c"<abyme/load.py>", c"_abyme_load")?;
    py.import("sys")?.getattr("modules")?.del_item("_abyme_load").ok();
    let sources = PyDict::new(py);
    for (name, source) in DRIVER.iter().chain(OWN) {
        sources.set_item(name, source)?;
    }
    Ok(loader.getattr("load")?.call1((sources,))?.unbind())
}

fn other_environment(running: &RunningPython, requested: Option<&Path>) -> Error {
    let describe = |path: Option<&Path>| match path {
        Some(path) => format!("the virtual environment {}", path.display()),
        None => "no virtual environment".to_owned(),
    };
    Error::new(
        ErrorKind::Config,
        format!(
            "Python runs in this process with {}, and cannot be started again with {}: one process \
             has one Python",
            describe(running.venv.as_deref()),
            describe(requested)
        ),
    )
}

/// Whether a directory is a virtual environment for the Python that is linked.
fn usable_environment(directory: &Path) -> Result<PathBuf> {
    let linked = env!("ABYME_PYTHON_VERSION");
    let problem = |what: String| Error::new(ErrorKind::Config, what).with("venv", directory.display());
    let about = std::fs::read_to_string(directory.join("pyvenv.cfg")).map_err(|error| {
        problem(format!(
            "`{}` is not a virtual environment ({error}): make one with `python{linked} -m venv {}`",
            directory.display(),
            directory.display()
        ))
    })?;
    let version = about.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        matches!(key.trim(), "version" | "version_info").then(|| value.trim().to_owned())
    });
    let minor = |version: &str| version.split('.').take(2).map(str::to_owned).collect::<Vec<_>>().join(".");
    if let Some(version) = version.filter(|version| minor(version) != linked) {
        return Err(problem(format!(
            "the virtual environment `{}` is for Python {version}, but this program is linked to Python \
             {linked}: make one with `python{linked} -m venv`",
            directory.display()
        )));
    }
    let executable = executable_of(directory);
    if !executable.exists() {
        return Err(problem(format!(
            "the virtual environment `{}` has no {}: make it again with `python{linked} -m venv`",
            directory.display(),
            executable.display()
        )));
    }
    std::path::absolute(directory).map_err(|error| problem(error.to_string()))
}

fn executable_of(venv: &Path) -> PathBuf {
    venv.join("bin/python3")
}

fn unavailable(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::Unavailable, what)
}

#[allow(unsafe_code, reason = "pyo3 has no safe form of this question")]
fn is_running() -> bool {
    // SAFETY: may be called at any time, from any thread.
    unsafe { ffi::Py_IsInitialized() != 0 }
}

/// Starts Python as `python3 -I` would: it ignores `PYTHON*` variables and the user's own packages, and takes
/// its prefix from `executable`. It installs no signal handlers.
#[allow(unsafe_code, reason = "pyo3's own start knows no configuration")]
fn initialize(executable: Option<&Path>) -> Result<()> {
    let executable = executable.map(|path| CString::new(path.as_os_str().as_bytes())).transpose();
    let executable = executable.map_err(|_| unavailable("the path of Python has a zero byte"))?;
    // SAFETY: no Python runs, and nothing else starts one meanwhile: the caller holds the lock of `RUNNING`,
    // and the docs of `Pyo3` require the same of the rest of the program. Both structures are initialised by
    // CPython before they are read, the strings outlive the calls, and `config` is cleared on every path. At
    // the end this thread gives up the lock that the start left it with, so that `attach` can take it in any
    // thread.
    unsafe {
        let mut preconfig = std::mem::zeroed::<ffi::PyPreConfig>();
        ffi::PyPreConfig_InitIsolatedConfig(&raw mut preconfig);
        preconfig.utf8_mode = 1;
        check(ffi::Py_PreInitialize(&raw const preconfig))?;
        let mut config = std::mem::zeroed::<ffi::PyConfig>();
        ffi::PyConfig_InitIsolatedConfig(&raw mut config);
        config.write_bytecode = 0;
        let mut status = ffi::PyStatus_Ok();
        if let Some(executable) = &executable {
            let field = &raw mut config.executable;
            status = ffi::PyConfig_SetBytesString(&raw mut config, field, executable.as_ptr());
        }
        if ffi::PyStatus_Exception(status) == 0 {
            status = ffi::Py_InitializeFromConfig(&raw const config);
        }
        ffi::PyConfig_Clear(&raw mut config);
        check(status)?;
        ffi::PyEval_SaveThread();
    }
    Ok(())
}

#[allow(unsafe_code, reason = "a status of CPython is a struct of pointers to constants")]
fn check(status: ffi::PyStatus) -> Result<()> {
    // SAFETY: `status` came from CPython; its message, where there is one, is a constant text.
    let message = unsafe {
        if ffi::PyStatus_Exception(status) == 0 {
            return Ok(());
        }
        if status.err_msg.is_null() {
            "unknown error".to_owned()
        } else {
            std::ffi::CStr::from_ptr(status.err_msg).to_string_lossy().into_owned()
        }
    };
    Err(unavailable(format!(
        "Python {} cannot be started: {message}; its standard library may be missing (it belongs to {})",
        env!("ABYME_PYTHON_VERSION"),
        env!("ABYME_PYTHON_EXECUTABLE")
    )))
}
