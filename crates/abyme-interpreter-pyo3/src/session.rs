//! A live session: hands cells to its thread, serves their calls, and keeps their time limits.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use abyme_core::{Cell, HostCall, HostError, HostFunctions, Observation, Result, Value};
use abyme_driver::repl::{Cancelled, Collector, Done, KnownScope, Patience, session_ended};
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use pyo3::prelude::*;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until, timeout},
};

use crate::{
    host::{Call, Door},
    python::RunningPython,
    spin::spin_task,
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

/// How a cell came to its end.
enum Outcome {
    Done(Box<Done>),
    /// The thread failed.
    Failed(String),
    /// The cell could not be stopped.
    Stuck(String),
}

/// A host call in flight.
type Serving<'a> = BoxFuture<'a, (u64, Result<Value, HostError>)>;

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
            let mut patience = Patience::new(Some(Instant::now()), self.interrupt_grace);
            let outcome = self.guarded(&Cancelled, &mut patience).await;
            self.door.close();
            if let Outcome::Failed(reason) | Outcome::Stuck(reason) = outcome {
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
        let (scope, limit) = (cell.scope.clone(), cell.timeout);
        let limit = limit.and_then(|limit| Instant::now().checked_add(limit));
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
        let mut patience = Patience::new(limit, self.interrupt_grace);
        self.running = Some(Running { number, calls, done: receiver });
        let outcome = self.guarded(host, &mut patience).await;
        let collector = self.door.close();
        let interrupted = patience.interrupted();
        Ok(match outcome {
            Outcome::Done(done) => {
                self.known_scope.learn(&scope, &done, interrupted);
                collector.finish(*done, interrupted)
            }
            Outcome::Failed(reason) => {
                self.end(&reason);
                collector.lost(reason, false)
            }
            Outcome::Stuck(reason) => {
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

    /// Pumps with an interrupt ready for the case that this future is dropped; what runs then stays in `running`, also
    /// when it is a clean-up that is dropped.
    async fn guarded(&mut self, host: &dyn HostFunctions, patience: &mut Patience) -> Outcome {
        let Some(running) = &mut self.running else { return Outcome::Failed("no cell runs".to_owned()) };
        let Some(worker) = &self.worker else { return Outcome::Failed("there is no thread".to_owned()) };
        let interrupter = Interrupter::new(&self.python, &self.door, worker, running.number);
        let mut guard = InterruptOnDrop { interrupter: &interrupter, armed: true };
        let outcome = pump(running, &interrupter, &self.door, host, patience).await;
        guard.armed = false;
        self.running = None;
        outcome
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

/// Runs the cell and serves its calls until it ends or is given up.
async fn pump(
    running: &mut Running,
    interrupter: &Interrupter,
    door: &Door,
    host: &dyn HostFunctions,
    patience: &mut Patience,
) -> Outcome {
    let mut calls: FuturesUnordered<Serving<'_>> = FuturesUnordered::new();
    let mut alarm = Box::pin(sleep_until(patience.next()));
    loop {
        if calls.is_empty() {
            // What comes at once is found at once; what does not is waited for below.
            let call = spin_task(|| match running.calls.try_recv() {
                Ok(call) => Some(Some(call)),
                Err(_) => (!running.done.is_empty()).then_some(None),
            });
            if let Some(Some((number, call))) = call.await {
                calls.push(Box::pin(serve(host, number, call)));
            }
        }
        tokio::select! {
            biased;
            done = &mut running.done => return match done {
                Ok(Ok(done)) => Outcome::Done(Box::new(done)),
                Ok(Err(problem)) => Outcome::Failed(format!("the driver failed: {problem}")),
                Err(_) => Outcome::Failed("the thread of the session failed".to_owned()),
            },
            Some((number, call)) = running.calls.recv() => calls.push(Box::pin(serve(host, number, call))),
            Some((number, result)) = calls.next(), if !calls.is_empty() => door.finish(number, result),
            () = &mut alarm => {
                if !patience.up() {
                    return Outcome::Stuck(interrupter.why_stuck());
                }
                interrupter.interrupt();
                alarm.as_mut().reset(patience.next());
            }
        }
    }
}

async fn serve(host: &dyn HostFunctions, number: u64, call: HostCall) -> (u64, Result<Value, HostError>) {
    (number, host.call(call).await)
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

/// Interrupts a cell whose future is dropped, so that it does not go on until the next call.
struct InterruptOnDrop<'a> {
    interrupter: &'a Interrupter,
    armed: bool,
}

impl Drop for InterruptOnDrop<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.interrupter.interrupt();
        }
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
