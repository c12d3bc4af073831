//! A started session: hands cells to its thread, serves their calls, and enforces their time limits.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use abyme_core::{Cell, HostError, HostFunctions, Observation, Result, Value};
use abyme_driver::{
    cell::{Cancelled, CellEnd, CellEvent, InterruptTimer, RunningCell, drive},
    repl::{Collector, Done, GivenTexts, KnownScope},
    session_ended,
};
use pyo3::prelude::*;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::{
    bridge::{Call, HostBridge},
    config::Config,
    python::RunningPython,
    worker::{Job, Worker},
};

/// How long an idle session may take to close.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
/// How often the threads of a session that was given up are told to end, and how many times.
const ASK_EVERY: Duration = Duration::from_millis(20);
const ASK_TIMES: u32 = 500;

/// A started session.
pub(crate) struct Pyo3Session {
    interrupt_grace: Duration,
    python: RunningPython,
    bridge: Arc<HostBridge>,
    worker: Option<Worker>,
    /// The cell that runs, even if the future of its call was dropped.
    running: Option<Running>,
    /// How many cells were run; the number of the last one.
    cells: u64,
    known_scope: KnownScope,
    given: GivenTexts,
    ended: Option<String>,
}

struct Running {
    number: u64,
    calls: mpsc::UnboundedReceiver<Call>,
    done: oneshot::Receiver<Result<Done, String>>,
}

/// How a cell ended.
enum RunEnd {
    Done {
        done: Box<Done>,
        interrupted: bool,
    },
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
    /// Starts a session.
    pub(crate) async fn new(config: &Config, python: RunningPython) -> Result<Self> {
        let bridge = Arc::new(HostBridge::new(python.spin(), config.max_message_bytes));
        let worker = Worker::start(&python, bridge.clone()).await?;
        Ok(Self {
            interrupt_grace: config.interrupt_grace,
            python,
            bridge,
            worker: Some(worker),
            running: None,
            cells: 0,
            known_scope: KnownScope::default(),
            given: GivenTexts::default(),
            ended: None,
        })
    }

    /// Why the session has ended, if it has.
    pub(crate) fn ended(&self) -> Option<&str> {
        self.ended.as_deref()
    }

    /// Cleans up after a cell whose future was dropped.
    pub(crate) async fn start(&mut self) -> Result<()> {
        if self.running.is_some() {
            self.known_scope.forget();
            let end = self.run_to_end(&Cancelled, InterruptTimer::expired(self.interrupt_grace)).await;
            self.bridge.close();
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
        let timer = InterruptTimer::new(&cell, self.interrupt_grace);
        self.cells += 1;
        let number = self.cells;
        let calls = self.bridge.open(number, Collector::new(cell.max_output_chars));
        let (done, receiver) = oneshot::channel();
        let given = self.given.number(&cell);
        let job = Job { number, cell, scope: self.known_scope.changed(&scope).cloned(), given, done };
        if self.worker.as_ref().is_none_or(|worker| worker.jobs.send(job).is_err()) {
            let reason = "the thread of the session failed";
            self.end(reason);
            return Err(session_ended(reason));
        }
        self.running = Some(Running { number, calls, done: receiver });
        let end = self.run_to_end(host, timer).await;
        let collector = self.bridge.close();
        Ok(match end {
            RunEnd::Done { done, interrupted } => {
                self.known_scope.learn(&scope, &done, interrupted);
                self.given.learn(&done);
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

    /// Ends the session. A second call does nothing.
    pub(crate) async fn shutdown(&mut self) {
        // A cell that still runs is stopped first.
        let _ = self.start().await;
        if self.ended.is_none() {
            self.ended = Some("it was shut down".to_owned());
        }
        if let Some(Worker { jobs, session, mut thread_end }) = self.worker.take() {
            drop(jobs);
            if timeout(CLOSE_LIMIT, &mut thread_end).await.is_err() {
                tracing::warn!("a session did not close within {} s", CLOSE_LIMIT.as_secs());
                abandon(session, thread_end);
            }
        }
    }

    /// Runs the cell to its end. If this future is dropped, the cell stays in `running`.
    async fn run_to_end(&mut self, host: &dyn HostFunctions, timer: InterruptTimer) -> RunEnd {
        let Some(running) = &mut self.running else { return RunEnd::Failed("no cell runs".to_owned()) };
        let Some(worker) = &self.worker else { return RunEnd::Failed("there is no thread".to_owned()) };
        let interrupter = Interrupter::new(&self.python, &self.bridge, worker, running.number);
        let mut cell = ThreadCell { running, interrupter, in_flight: 0, spin_deadline: None };
        let end = match drive(&mut cell, host, &self.given, timer).await {
            CellEnd::Ended { end: Ok(Ok(done)), interrupted } => {
                RunEnd::Done { done: Box::new(done), interrupted }
            }
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

    /// Marks the session as ended. If its thread still runs, it is told to end, in the background.
    fn end(&mut self, reason: &str) {
        self.ended = Some(reason.to_owned());
        if let Some(Worker { session, thread_end, .. }) = self.worker.take() {
            abandon(session, thread_end);
        }
    }
}

/// Ends the thread of a session that is dropped while a cell runs, also a cancelled one.
impl Drop for Pyo3Session {
    fn drop(&mut self) {
        if self.running.is_some()
            && let Some(Worker { session, thread_end, .. }) = self.worker.take()
        {
            abandon(session, thread_end);
        }
    }
}

/// A running cell, on the thread of its session.
struct ThreadCell<'a> {
    running: &'a mut Running,
    interrupter: Interrupter,
    /// How many calls have no answer yet.
    in_flight: usize,
    /// When the task stops spinning for the next event.
    spin_deadline: Option<Instant>,
}

impl RunningCell for ThreadCell<'_> {
    type End = Result<Result<Done, String>, oneshot::error::RecvError>;

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<CellEvent<Self::End>> {
        let spin = self.interrupter.bridge.spin();
        // An event that comes soon is found by spinning; the task is woken for a later one.
        if self.in_flight == 0
            && self.running.calls.is_empty()
            && self.running.done.is_empty()
            && Instant::now() < *self.spin_deadline.get_or_insert_with(|| spin.deadline())
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
        self.spin_deadline = None;
        self.interrupter.bridge.finish(call, result);
    }

    fn interrupt(&mut self) -> bool {
        self.interrupter.interrupt();
        true
    }
}

/// Interrupts the cell of a session. Other code may hold Python's lock for long, so a thread waits for it.
struct Interrupter {
    python: RunningPython,
    bridge: Arc<HostBridge>,
    session: Arc<Py<PyAny>>,
    /// The number of the cell: an interrupt that comes late must not hit the next cell.
    cell: u64,
    delivered: Arc<AtomicBool>,
}

impl Interrupter {
    fn new(python: &RunningPython, bridge: &Arc<HostBridge>, worker: &Worker, cell: u64) -> Self {
        let (python, bridge, session) = (python.clone(), bridge.clone(), worker.session.clone());
        Self { python, bridge, session, cell, delivered: Arc::default() }
    }

    fn interrupt(&self) {
        let (bridge, session, delivered) =
            (self.bridge.clone(), self.session.clone(), self.delivered.clone());
        let cell = self.cell;
        self.python.later(move || {
            Python::attach(|py| {
                let interrupted = session.bind(py).call_method1("interrupt", (cell,));
                match interrupted.and_then(|interrupted| interrupted.extract::<bool>()) {
                    // After `interrupt`: the thread must find the interrupt when it returns to Python.
                    Ok(true) => bridge.interrupt(cell),
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
            "the cell ran over its time limit and did not stop when it was interrupted: {why}. Its thread \
             cannot be ended from outside and may go on, so the session was given up"
        )
    }
}

/// Tells the threads of a session that was given up to end, until they do or the attempts are used up. Most
/// Python code ends: code that catches one exception is hit by the next.
fn abandon(session: Arc<Py<PyAny>>, mut thread_end: oneshot::Receiver<()>) {
    let ask = move || {
        for _ in 0..ASK_TIMES {
            if !matches!(thread_end.try_recv(), Err(oneshot::error::TryRecvError::Empty)) {
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
