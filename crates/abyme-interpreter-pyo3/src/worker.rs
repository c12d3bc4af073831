//! The thread of a session, which runs its cells one after another and does nothing else.

use std::sync::{Arc, mpsc};

use abyme_core::{Cell, DecodeProblem, Error, ErrorKind, Result, Scope};
use abyme_driver::repl::{Done, scope_value};
use pyo3::{prelude::*, types::PyDict};
use tokio::sync::oneshot;

use crate::{
    bridge::{self, HostBridge},
    convert::{from_python, to_python},
    python::RunningPython,
};

/// As much as recursion in C may need. It is address space, not memory.
const STACK_SIZE: usize = 64 << 20;

/// A cell to run.
pub(crate) struct Job {
    /// The number of the cell in its session, by which an interrupt finds it.
    pub(crate) number: u64,
    pub(crate) cell: Cell,
    pub(crate) scope: Option<Arc<Scope>>,
    pub(crate) given: Vec<(String, u64)>,
    pub(crate) done: oneshot::Sender<Result<Done, String>>,
}

/// A session's thread, seen from the host. Dropping it ends the session as soon as no cell runs.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) jobs: mpsc::Sender<Job>,
    /// The session, to interrupt it.
    pub(crate) session: Arc<Py<PyAny>>,
    /// Closed when the thread ends.
    pub(crate) thread_end: oneshot::Receiver<()>,
}

impl Worker {
    /// Starts the thread and waits for its session.
    pub(crate) async fn start(python: &RunningPython, bridge: Arc<HostBridge>) -> Result<Self> {
        let (jobs, mut queue) = mpsc::channel();
        let (ready, session) = oneshot::channel();
        let (alive, thread_end) = oneshot::channel();
        let module = python.module();
        let work = move || {
            // Dropped last, however this thread ends.
            let _alive: oneshot::Sender<()> = alive;
            bridge.register_thread();
            Python::attach(|py| run_cells(py, module.bind(py), &bridge, &mut queue, ready));
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
            Ok(Ok(session)) => Ok(Self { jobs, session, thread_end }),
            Ok(Err(problem)) => Err(Error::new(ErrorKind::Unavailable, format!("no session: {problem}"))),
            Err(_) => Err(Error::new(ErrorKind::Internal, "the thread of a session failed")),
        }
    }
}

/// Creates the session and runs its cells until the queue is closed.
fn run_cells(
    py: Python<'_>,
    module: &Bound<'_, PyAny>,
    bridge: &Arc<HostBridge>,
    queue: &mut mpsc::Receiver<Job>,
    ready: oneshot::Sender<Result<Arc<Py<PyAny>>, String>>,
) {
    let created =
        bridge::functions(py, bridge).and_then(|functions| module.getattr("Session")?.call1(functions));
    let session = match created {
        Ok(session) => session,
        Err(error) => {
            let _ = ready.send(Err(error.to_string()));
            return;
        }
    };
    // If nothing waits for it any more, the queue is closed too.
    let _ = ready.send(Ok(Arc::new(session.clone().unbind())));
    let spin = bridge.spin();
    let mut next_job = || {
        let queue = &mut *queue;
        py.detach(move || match spin.spin(|| queue.try_recv().ok()) {
            Some(job) => Ok(job),
            None => queue.recv(),
        })
    };
    while let Ok(job) = next_job() {
        let done = run(&session, &job, bridge);
        // The cell is dropped before the host learns that it is done.
        let Job { done: reply, cell, .. } = job;
        drop(cell);
        let _ = reply.send(done);
    }
    if let Err(error) = session.call_method0("close") {
        tracing::warn!(%error, "a session did not close in order");
    }
}

fn run(session: &Bound<'_, PyAny>, job: &Job, bridge: &HostBridge) -> Result<Done, String> {
    let py = session.py();
    let request: Bound<'_, PyDict> = request(py, job).map_err(|error| error.to_string())?;
    let answer =
        session.call_method1("run_cell", (job.number, request)).map_err(|error| error.to_string())?;
    let value = match from_python(&answer, &mut bridge.budget()) {
        Err(problem @ DecodeProblem::TooLarge(_)) => {
            without_variables(&answer, &problem.to_string()).map_err(|error| error.to_string())?;
            from_python(&answer, &mut bridge.budget())
        }
        value => value,
    };
    Done::from_value(value.map_err(|problem| problem.to_string())?)
}

/// Leaves the variables out of an answer that is too large with them.
fn without_variables(answer: &Bound<'_, PyAny>, problem: &str) -> PyResult<()> {
    let unreadable = answer.get_item("unreadable")?;
    for name in answer.get_item("variables")?.try_iter()? {
        unreadable.set_item(name?, problem)?;
    }
    answer.set_item("variables", PyDict::new(answer.py()))
}

/// The request for a cell, as `Repl.run` takes it. The scope is part of it only when it changed.
fn request<'py>(py: Python<'py>, job: &Job) -> PyResult<Bound<'py, PyDict>> {
    let cell = &job.cell;
    let request = PyDict::new(py);
    request.set_item("code", &cell.code)?;
    if !cell.variables.is_empty() {
        let variables = PyDict::new(py);
        for (name, value) in &cell.variables {
            variables.set_item(name, to_python(py, value)?)?;
        }
        request.set_item("variables", variables)?;
    }
    if !job.given.is_empty() {
        let numbers = PyDict::new(py);
        job.given.iter().try_for_each(|(name, number)| numbers.set_item(name, number))?;
        request.set_item("given", numbers)?;
    }
    if let Some(scope) = &job.scope {
        request.set_item("scope", to_python(py, &scope_value(scope))?)?;
    }
    if !cell.reads.is_empty() {
        request.set_item("reads", &cell.reads)?;
    }
    request.set_item("max_output_chars", cell.max_output_chars)?;
    Ok(request)
}
