//! A live session: hands cells to its thread, serves their calls, and keeps their time limits.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use abyme_core::{Cell, HostError, HostFunctions, Observation, Result, Value};
use abyme_driver::{
    cell::{Cancelled, CellEnd, CellEvent, InterruptTimer, RunningCell, drive},
    repl::{Collector, Done, KnownScope},
    session_ended,
};
use pyo3::prelude::*;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::{
    host::{Call, Door},
    python::RunningPython,
    spin::SpinTime,
    worker::{Job, Worker},
};

/// How long an idle session may take to close.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
/// How often the threads of a session that was given up are asked to end, and how long.
const ASK_EVERY: Duration = Duration::from_millis(20);
const ASK_TIMES: u32 = 500;

/// A live session.
pub(crate) struct Pyo3Session {
    interrupt_grace: Duration,
    python: RunningPython,
    door: Arc<Door>,
    worker: Option<Worker>,
    /// The cell that runs, also one whose future was dropped.
    running: Option<Running>,
    /// How many cells there were.
    cells: u64,
    known_scope: KnownScope,
    ended: Option<String>,
}

struct Running {
    number: u64,
    calls: mpsc::UnboundedReceiver<Call>,
    done: oneshot::Receiver<Result<Done, String>>,
}

/// How a cell ended.
enum RunEnd {
    /// Whether the host interrupted it.
    Done(Box<Done>, bool),
    /// The thread failed.
    Failed(String),
    /// The cell could not be stopped.
    Stuck(String),
}

impl fmt::Debug for Pyo3Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pyo3Session").field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl Pyo3Session {
    /// A fresh session.
    pub(crate) async fn new(interrupt_grace: Duration, python: RunningPython) -> Result<Self> {
        let door = Arc::new(Door::default());
        let worker = Worker::start(&python, door.clone()).await?;
        Ok(Self {
            interrupt_grace,
            python,
            door,
            worker: Some(worker),
            running: None,
            cells: 0,
            known_scope: KnownScope::default(),
            ended: None,
        })
    }

    /// Why the session is over, if it is.
    pub(crate) fn ended(&self) -> Option<&str> {
        self.ended.as_deref()
    }

    /// Cleans up after a cell whose future was dropped.
    pub(crate) async fn start(&mut self) -> Result<()> {
        if self.running.is_some() {
            self.known_scope.forget();
            let end = self.run_to_end(&Cancelled, InterruptTimer::expired(self.interrupt_grace)).await;
            self.door.close();
            if let RunEnd::Failed(reason) | RunEnd::Stuck(reason) = end {
                self.end(&format!("a cancelled cell did not stop in order: {reason}"));
            }
        }
        match &self.ended {
            Some(reason) => Err(session_ended(reason)),
            None => Ok(()),
        }
    }

    /// Runs one cell. See [`CodeInterpreter::execute`](abyme_core::CodeInterpreter::execute).
    pub(crate) async fn execute(&mut self, cell: Cell, host: &dyn HostFunctions) -> Result<Observation> {
        self.start().await?;
        let scope = cell.scope.clone();
        let timer = InterruptTimer::new(cell.timeout, self.interrupt_grace);
        self.cells += 1;
        let number = self.cells;
        let calls = self.door.open(number, Collector::new(cell.max_output_chars));
        let (done, receiver) = oneshot::channel();
        let job = Job { number, cell, scope: self.known_scope.changed(&scope).cloned(), done };
        if self.worker.as_ref().is_none_or(|worker| worker.jobs.send(job).is_err()) {
            let reason = "the thread of the session failed";
            self.end(reason);
            return Err(session_ended(reason));
        }
        self.running = Some(Running { number, calls, done: receiver });
        let end = self.run_to_end(host, timer).await;
        let collector = self.door.close();
        Ok(match end {
            RunEnd::Done(done, interrupted) => {
                self.known_scope.learn(&scope, &done, interrupted);
                collector.finish(*done, interrupted)
            }
            RunEnd::Failed(reason) => {
                self.end(&reason);
                collector.lost(reason, false)
            }
            RunEnd::Stuck(reason) => {
                self.end(&reason);
                collector.lost(reason, true)
            }
        })
    }

    /// Ends the session. Fine to call twice.
    pub(crate) async fn shutdown(&mut self) {
        // A cell that still runs is stopped first.
        let _ = self.start().await;
        if self.ended.is_none() {
            self.ended = Some("it was shut down".to_owned());
        }
        if let Some(Worker { jobs, session, mut gone }) = self.worker.take() {
            drop(jobs);
            if timeout(CLOSE_LIMIT, &mut gone).await.is_err() {
                tracing::warn!("a session did not close within {} s", CLOSE_LIMIT.as_secs());
                abandon(session, gone);
            }
        }
    }

    /// Runs the cell to its end. If this future is dropped, the cell stays in `running`.
    async fn run_to_end(&mut self, host: &dyn HostFunctions, timer: InterruptTimer) -> RunEnd {
        let Some(running) = &mut self.running else { return RunEnd::Failed("no cell runs".to_owned()) };
        let Some(worker) = &self.worker else { return RunEnd::Failed("there is no thread".to_owned()) };
        let interrupter = Interrupter::new(&self.python, &self.door, worker, running.number);
        let mut cell = ThreadCell { running, interrupter, in_flight: 0, spinning: None };
        let end = match drive(&mut cell, host, timer).await {
            CellEnd::Ended { end: Ok(Ok(done)), interrupted } => RunEnd::Done(Box::new(done), interrupted),
            CellEnd::Ended { end: Ok(Err(problem)), .. } => {
                RunEnd::Failed(format!("the driver failed: {problem}"))
            }
            CellEnd::Ended { end: Err(_), .. } => {
                RunEnd::Failed("the thread of the session failed".to_owned())
            }
            CellEnd::TimedOut => RunEnd::Stuck(cell.interrupter.why_stuck()),
        };
        self.running = None;
        end
    }

    /// The session is over. Its thread may still run: it is asked to end, in the background.
    fn end(&mut self, reason: &str) {
        self.ended = Some(reason.to_owned());
        if let Some(Worker { session, gone, .. }) = self.worker.take() {
            abandon(session, gone);
        }
    }
}

/// A session that is dropped while a cell runs, or that was cancelled, does not keep its thread.
impl Drop for Pyo3Session {
    fn drop(&mut self) {
        if self.running.is_some()
            && let Some(Worker { session, gone, .. }) = self.worker.take()
        {
            abandon(session, gone);
        }
    }
}

/// A running cell, on the thread of its session.
struct ThreadCell<'a> {
    running: &'a mut Running,
    interrupter: Interrupter,
    /// How many calls are not answered.
    in_flight: usize,
    /// Since when the task spins for what comes next.
    spinning: Option<SpinTime>,
}

impl RunningCell for ThreadCell<'_> {
    type End = Result<Result<Done, String>, oneshot::error::RecvError>;

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<CellEvent<Self::End>> {
        // What comes at once is found at once; what does not is waited for below.
        if self.in_flight == 0
            && self.running.calls.is_empty()
            && self.running.done.is_empty()
            && !self.spinning.get_or_insert_with(SpinTime::begin).is_over()
        {
            return Poll::Ready(CellEvent::Spin);
        }
        if let Poll::Ready(done) = Pin::new(&mut self.running.done).poll(context) {
            return Poll::Ready(CellEvent::Ended(done));
        }
        if let Poll::Ready(Some((id, call))) = self.running.calls.poll_recv(context) {
            self.in_flight += 1;
            return Poll::Ready(CellEvent::Call { id, call });
        }
        Poll::Pending
    }

    fn answer(&mut self, call: u64, result: Result<Value, HostError>) {
        self.in_flight -= 1;
        self.spinning = None;
        self.interrupter.door.finish(call, result);
    }

    fn interrupt(&mut self) -> bool {
        self.interrupter.interrupt();
        true
    }
}

/// Stops the cell of a session. Python's lock may be held by others for long, so a thread waits for it.
struct Interrupter {
    python: RunningPython,
    door: Arc<Door>,
    session: Arc<Py<PyAny>>,
    /// The cell: an interrupt that comes late must not hit the next one.
    cell: u64,
    delivered: Arc<AtomicBool>,
}

impl Interrupter {
    fn new(python: &RunningPython, door: &Arc<Door>, worker: &Worker, cell: u64) -> Self {
        let (python, door, session) = (python.clone(), door.clone(), worker.session.clone());
        Self { python, door, session, cell, delivered: Arc::default() }
    }

    fn interrupt(&self) {
        let (door, session, delivered) = (self.door.clone(), self.session.clone(), self.delivered.clone());
        let cell = self.cell;
        self.python.later(move || {
            Python::attach(|py| {
                let interrupted = session.bind(py).call_method1("interrupt", (cell,));
                match interrupted.and_then(|interrupted| interrupted.extract::<bool>()) {
                    // After that: the thread must find the interrupt when it comes back to Python.
                    Ok(true) => door.interrupt(cell),
                    Ok(false) => {}
                    Err(error) => tracing::warn!(%error, "a cell could not be interrupted"),
                }
            });
            delivered.store(true, Ordering::Release);
        });
    }

    fn why_stuck(&self) -> String {
        let why = if self.delivered.load(Ordering::Acquire) {
            "the code it is in does not come back to Python, or catches every exception"
        } else {
            "code written in C holds Python's lock and does not let it go"
        };
        format!(
            "the cell ran over its time limit and did not stop when it was interrupted: {why}. Its thread cannot be \
             ended from outside and may go on, so the session was given up"
        )
    }
}

/// Asks the threads of a session that nobody waits for to end, until they do or it has proved hopeless. Most Python code
/// does: what catches one exception is hit by the next.
fn abandon(session: Arc<Py<PyAny>>, mut gone: oneshot::Receiver<()>) {
    let ask = move || {
        for _ in 0..ASK_TIMES {
            if !matches!(gone.try_recv(), Err(oneshot::error::TryRecvError::Empty)) {
                return;
            }
            Python::attach(|py| session.bind(py).call_method0("abandon").map(|_| ()).ok());
            std::thread::sleep(ASK_EVERY);
        }
        tracing::warn!("a thread of a session that was given up still runs");
    };
    if let Err(error) = std::thread::Builder::new().name("abyme-abandon".to_owned()).spawn(ask) {
        tracing::warn!(%error, "no thread to end a session with");
    }
}
