//! The thread of a session: it runs the cells, one after another, and nothing else.

use std::sync::{Arc, mpsc};

use abyme_core::{Cell, Error, ErrorKind, Result, Scope};
use abyme_driver::repl::{Done, scope_value};
use pyo3::{prelude::*, types::PyDict};
use tokio::sync::oneshot;

use crate::{
    convert::{from_python, to_python},
    host::{self, Door},
    python::RunningPython,
    spin::spin,
};

/// Address space, not memory: as much as recursion in C may need.
const STACK_SIZE: usize = 64 << 20;

/// A cell to run.
pub(crate) struct Job {
    /// The number of the cell in its session, by which an interrupt finds it.
    pub(crate) number: u64,
    pub(crate) cell: Cell,
    pub(crate) scope: Option<Arc<Scope>>,
    pub(crate) done: oneshot::Sender<Result<Done, String>>,
}

/// A session's thread, seen from the host. Dropping it ends the session as soon as no cell runs.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) jobs: mpsc::Sender<Job>,
    /// The session, to interrupt it.
    pub(crate) session: Arc<Py<PyAny>>,
    /// Comes to its end when the thread does.
    pub(crate) gone: oneshot::Receiver<()>,
}

impl Worker {
    /// Starts the thread and waits for its session.
    pub(crate) async fn start(python: &RunningPython, door: Arc<Door>) -> Result<Self> {
        let (jobs, mut queue) = mpsc::channel();
        let (ready, session) = oneshot::channel();
        let (ended, gone) = oneshot::channel();
        let module = python.module();
        let work = move || {
            // Dropped last, however this thread ends.
            let _ended: oneshot::Sender<()> = ended;
            door.claim();
            Python::attach(|py| serve(py, module.bind(py), &door, &mut queue, ready));
        };
        std::thread::Builder::new()
            .name("abyme-session".to_owned())
            .stack_size(STACK_SIZE)
            .spawn(work)
            .map_err(|error| {
                Error::new(ErrorKind::Unavailable, format!("no thread for a session: {error}"))
                    .with_source(error)
            })?;
        match session.await {
            Ok(Ok(session)) => Ok(Self { jobs, session, gone }),
            Ok(Err(problem)) => Err(Error::new(ErrorKind::Unavailable, format!("no session: {problem}"))),
            Err(_) => Err(Error::new(ErrorKind::Internal, "the thread of a session failed")),
        }
    }
}

fn serve(
    py: Python<'_>,
    module: &Bound<'_, PyAny>,
    door: &Arc<Door>,
    queue: &mut mpsc::Receiver<Job>,
    ready: oneshot::Sender<Result<Arc<Py<PyAny>>, String>>,
) {
    let made = host::functions(py, door).and_then(|functions| module.getattr("Session")?.call1(functions));
    let session = match made {
        Ok(session) => session,
        Err(error) => {
            let _ = ready.send(Err(error.to_string()));
            return;
        }
    };
    // Nobody may be there to take it any more; then the queue is closed too.
    let _ = ready.send(Ok(Arc::new(session.clone().unbind())));
    let mut next = || {
        let queue = &mut *queue;
        py.detach(move || match spin(|| queue.try_recv().ok()) {
            Some(job) => Ok(job),
            None => queue.recv(),
        })
    };
    while let Ok(job) = next() {
        let done = run(&session, &job);
        // What a cell leaves behind is dropped before anybody hears that it is done.
        let Job { done: reply, cell, .. } = job;
        drop(cell);
        let _ = reply.send(done);
    }
    if let Err(error) = session.call_method0("close") {
        tracing::warn!(%error, "a session did not close in order");
    }
}

fn run(session: &Bound<'_, PyAny>, job: &Job) -> Result<Done, String> {
    let py = session.py();
    let request: Bound<'_, PyDict> =
        request(py, &job.cell, job.scope.as_deref()).map_err(|error| error.to_string())?;
    let answer =
        session.call_method1("run_cell", (job.number, request)).map_err(|error| error.to_string())?;
    Done::from_value(from_python(&answer)?)
}

/// The request for a cell. The names that the session offers go along only when they changed.
fn request<'py>(py: Python<'py>, cell: &Cell, scope: Option<&Scope>) -> PyResult<Bound<'py, PyDict>> {
    let request = PyDict::new(py);
    request.set_item("code", &cell.code)?;
    if !cell.variables.is_empty() {
        let variables = PyDict::new(py);
        for (name, value) in &cell.variables {
            variables.set_item(name, to_python(py, value)?)?;
        }
        request.set_item("variables", variables)?;
    }
    if let Some(scope) = scope {
        request.set_item("scope", to_python(py, &scope_value(scope))?)?;
    }
    if !cell.reads.is_empty() {
        request.set_item("reads", &cell.reads)?;
    }
    request.set_item("max_output_chars", cell.max_output_chars)?;
    Ok(request)
}
