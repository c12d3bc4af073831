//! The session that a case examines, with the short methods in which cases are written.

use std::{
    panic::Location,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use abyme_core::{
    Capabilities, Cell, CodeInterpreter, Error, ErrorKind, HostFunctions, NoHostFunctions, Result, Scope,
    Session, Value,
};
use futures_util::future::{self, Either};

use crate::{
    harness::{AnyHarness, Snapshot},
    host::Host,
    observed::{Observed, SLACK},
    result::{fail, fail_at},
};

/// The guard of a session. Its forks share it.
type Guard = Arc<Mutex<Box<dyn Send>>>;

/// A session, with the host functions and the scope that the case gave it.
pub(crate) struct SessionUnderTest {
    // In this order, so that the session is dropped before its guard.
    interpreter: Box<dyn CodeInterpreter>,
    guard: Guard,
    harness: Arc<dyn AnyHarness>,
    host: Arc<dyn HostFunctions>,
    scope: Arc<Scope>,
    steps: AtomicU32,
}

impl SessionUnderTest {
    /// The limit of a cell that has none. It is below the limit of a case, so that a hung cell is reported as
    /// one.
    const TIMEOUT: Duration = Duration::from_secs(25);

    pub(crate) async fn open(harness: Arc<dyn AnyHarness>) -> Self {
        match harness.session().await {
            Ok((guard, interpreter)) => Self {
                interpreter,
                guard: Arc::new(Mutex::new(guard)),
                harness,
                host: Arc::new(NoHostFunctions),
                scope: Arc::default(),
                steps: AtomicU32::new(0),
            },
            Err(error) => fail(format!("no session could be made: {error:?}")),
        }
    }

    /// A second session of the same backend.
    pub(crate) fn another(&self) -> impl Future<Output = SessionUnderTest> + Send + use<> {
        SessionUnderTest::open(self.harness.clone())
    }

    /// A fork of the session with the same scope and host. Fails the case if the fork fails.
    #[track_caller]
    pub(crate) fn fork(&mut self) -> impl Future<Output = SessionUnderTest> + Send + '_ {
        let at = Location::caller();
        async move {
            match self.try_fork().await {
                Ok(fork) => fork,
                Err(error) => fail_at(at, format!("fork failed: {error:?}")),
            }
        }
    }

    pub(crate) async fn try_fork(&mut self) -> Result<SessionUnderTest> {
        Ok(SessionUnderTest {
            interpreter: self.interpreter.fork().await?,
            guard: self.guard.clone(),
            harness: self.harness.clone(),
            host: self.host.clone(),
            scope: self.scope.clone(),
            steps: AtomicU32::new(0),
        })
    }

    /// The session as bytes. Fails the case if the snapshot fails.
    #[track_caller]
    pub(crate) fn snapshot(&mut self) -> impl Future<Output = Vec<u8>> + Send + '_ {
        let at = Location::caller();
        async move {
            match self.try_snapshot().await {
                Ok(bytes) => bytes,
                Err(error) => fail_at(at, format!("snapshot failed: {error:?}")),
            }
        }
    }

    pub(crate) async fn try_snapshot(&mut self) -> Result<Vec<u8>> {
        self.interpreter.snapshot().await
    }

    /// A session from a snapshot, with the same scope and host. Fails the case if the restore fails.
    #[track_caller]
    pub(crate) fn restore<'a>(
        &'a self,
        snapshot: &'a [u8],
    ) -> impl Future<Output = SessionUnderTest> + Send + 'a {
        let at = Location::caller();
        let restored = self.try_restore(snapshot);
        async move {
            match restored.await {
                Ok(restored) => restored,
                Err(error) => fail_at(at, format!("restore failed: {error:?}")),
            }
        }
    }

    pub(crate) fn try_restore<'a>(
        &self,
        snapshot: impl Into<Snapshot<'a>>,
    ) -> impl Future<Output = Result<SessionUnderTest>> + Send + 'a {
        let snapshot = snapshot.into();
        let (harness, host, scope) = (self.harness.clone(), self.host.clone(), self.scope.clone());
        async move {
            let (guard, interpreter) = harness.restore(snapshot).await?;
            let guard = Arc::new(Mutex::new(guard));
            Ok(SessionUnderTest { interpreter, guard, harness, host, scope, steps: AtomicU32::new(0) })
        }
    }

    /// Moves the session into a core [`Session`]. The guard stays here.
    pub(crate) fn wrapped(&mut self) -> Session {
        let placeholder = Box::new(Placeholder(self.interpreter.capabilities().clone()));
        Session::new(std::mem::replace(&mut self.interpreter, placeholder))
    }

    /// Drops the session, and keeps its guard, scope and host.
    pub(crate) fn drop_session(&mut self) {
        drop(self.wrapped());
    }

    pub(crate) fn capabilities(&self) -> &Capabilities {
        self.interpreter.capabilities()
    }

    pub(crate) fn declared(&self) -> &Capabilities {
        self.harness.capabilities()
    }

    /// Serves the functions of `host` to all later cells.
    pub(crate) fn serve(&mut self, host: &Host) {
        let mut scope = Scope::clone(&self.scope);
        scope.functions = host.specs();
        self.scope = Arc::new(scope);
        self.host = Arc::new(host.clone());
    }

    /// Declares the outputs that `SUBMIT` takes, as `"answer: str, score: float"`.
    pub(crate) fn outputs(&mut self, outputs: &str) {
        let mut scope = Scope::clone(&self.scope);
        scope.outputs.clear();
        for output in outputs.split(", ") {
            let (name, ty) = output.split_once(": ").unwrap_or((output, "str"));
            scope = scope.output(name, ty);
        }
        self.scope = Arc::new(scope);
    }

    /// Replaces the Python tools with one module.
    pub(crate) fn tools(&mut self, name: &str, source: &str) {
        let mut scope = Scope::clone(&self.scope);
        scope.modules.clear();
        self.scope = Arc::new(scope.module(name, dedented(source)));
    }

    /// A cell with the scope of this session. The case may add variables, reads or limits.
    pub(crate) fn cell(&self, code: &str) -> Cell {
        Cell::new(dedented(code)).scope(self.scope.clone()).timeout(Self::TIMEOUT)
    }

    pub(crate) async fn start(&mut self) -> Result<()> {
        self.interpreter.start().await
    }

    /// Shuts down. Fails the case if this fails or takes more than the 5 s that any shutdown may take.
    #[track_caller]
    pub(crate) fn shutdown_promptly(&mut self) -> impl Future<Output = ()> + Send + '_ {
        let at = Location::caller();
        async move {
            let limit = Duration::from_secs(5) + SLACK;
            match tokio::time::timeout(limit, self.interpreter.shutdown()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => fail_at(at, format!("shutdown failed: {error:?}")),
                Err(_) => fail_at(at, format!("shutdown took more than {limit:?}")),
            }
        }
    }

    /// Runs code or a cell. Fails the case if there is no observation.
    #[track_caller]
    pub(crate) fn run(&mut self, cell: impl IntoCell) -> impl Future<Output = Observed> + Send + '_ {
        let at = Location::caller();
        let cell = cell.into_cell(self);
        async move {
            let code = cell.code.clone();
            match self.try_run(cell).await {
                Ok(observed) => observed,
                Err(error) => fail_at(
                    at,
                    format!("expected an observation, got the error {error:?}{}", Observed::listing(&code)),
                ),
            }
        }
    }

    /// Runs code or a cell that may end the session.
    pub(crate) async fn try_run(&mut self, cell: impl IntoCell) -> Result<Observed> {
        let cell = cell.into_cell(self);
        let code = cell.code.clone();
        let host = self.host.clone();
        if cell.timeout.is_some_and(|limit| limit < Self::TIMEOUT) {
            // The case compares the duration of the cell with its limit, which does not include the session's
            // start.
            self.start().await?;
        }
        let begin = Instant::now();
        let observation = self.interpreter.execute(cell, &*host).await?;
        Ok(Observed::new(code, observation, begin.elapsed()))
    }

    /// Sets a variable. Fails the case if this fails.
    #[track_caller]
    pub(crate) fn set<'a>(
        &'a mut self,
        name: &'a str,
        value: impl Into<Value>,
    ) -> impl Future<Output = ()> + Send + 'a {
        let at = Location::caller();
        let cell = self.cell("").variable(name, value);
        async move {
            match self.try_run(cell).await {
                Ok(observed) if observed.error.is_none() => {}
                Ok(observed) => fail_at(at, observed.complaint(&format!("setting `{name}` failed"))),
                Err(error) => fail_at(at, format!("setting `{name}` failed: {error:?}")),
            }
        }
    }

    /// Reads a variable. Fails the case if it does not exist.
    #[track_caller]
    pub(crate) fn read<'a>(&'a mut self, name: &'a str) -> impl Future<Output = Value> + Send + 'a {
        let at = Location::caller();
        let cell = self.cell("").read(name);
        async move {
            match self.try_run(cell).await {
                Ok(mut observed) => match observed.observation.variables.shift_remove(name) {
                    Some(value) => value,
                    None => fail_at(at, observed.complaint(&format!("`{name}` was not read"))),
                },
                Err(error) => fail_at(at, format!("reading `{name}` failed: {error:?}")),
            }
        }
    }

    /// Runs a cell until `signal`, then drops the future in the middle of the cell. Returns the observation
    /// of a cell that ended before.
    pub(crate) async fn abandon(
        &mut self,
        cell: impl IntoCell,
        signal: impl Future<Output = ()>,
    ) -> Option<Result<Observed>> {
        let running = pin!(self.try_run(cell));
        let signal = pin!(signal);
        match future::select(running, signal).await {
            Either::Left((observed, _)) => Some(observed),
            Either::Right(((), _)) => None,
        }
    }

    /// Expects that the session answers the next cell, with that cell's own answer.
    #[track_caller]
    pub(crate) fn in_step(&mut self) -> impl Future<Output = ()> + Send + '_ {
        let at = Location::caller();
        async move {
            match self.try_run(self.probe()).await {
                Ok(observed) => observed.answers_probe(at, self.steps.load(Ordering::Relaxed)),
                Err(error) => fail_at(at, format!("the session should still be usable, but: {error:?}")),
            }
        }
    }

    /// Expects that the session is usable, or reports that it has ended and stays so. Returns whether it is
    /// usable.
    #[track_caller]
    pub(crate) fn usable_or_ended(&mut self) -> impl Future<Output = bool> + Send + '_ {
        let at = Location::caller();
        async move {
            match self.try_run(self.probe()).await {
                Ok(observed) if observed.session_ended.is_some() => self.has_ended().await,
                Ok(observed) => {
                    observed.answers_probe(at, self.steps.load(Ordering::Relaxed));
                    return true;
                }
                Err(error) if error.is_session_lost() => self.has_ended().await,
                Err(error) => fail_at(at, format!("the session should be usable or ended, but: {error:?}")),
            }
            false
        }
    }

    fn probe(&self) -> Cell {
        let step = self.steps.fetch_add(1, Ordering::Relaxed) + 1;
        self.cell(&format!("f'step {{{step}}}'"))
    }

    /// Expects that a cell ends the session; where the backend brings sessions back, that it ends the cell.
    /// Returns the reason that the backend gives.
    #[track_caller]
    pub(crate) fn ends(&mut self, cell: impl IntoCell) -> impl Future<Output = String> + Send + '_ {
        let at = Location::caller();
        let cell = cell.into_cell(self);
        async move {
            let reason = match self.try_run(cell).await {
                Err(error) if error.is_session_lost() => error.to_string(),
                Err(error) => fail_at(at, format!("the session should have ended, but: {error:?}")),
                Ok(observed) => match (&observed.session_ended, &observed.restored) {
                    (Some(reason), None) => reason.clone(),
                    (None, Some(reason)) if self.declared().restores => reason.clone(),
                    _ => fail_at(at, observed.complaint("this cell should have ended the session")),
                },
            };
            if reason.trim().is_empty() {
                fail_at(at, "the session ended without a reason");
            }
            reason
        }
    }

    /// Expects, after [`ends`](Self::ends), that the session is over; where the backend declares that it
    /// restores sessions, that the session is usable.
    #[track_caller]
    pub(crate) fn is_over_or_back(&mut self) -> impl Future<Output = ()> + Send + '_ {
        let at = Location::caller();
        async move {
            let usable = self.usable_or_ended().await;
            if usable != self.declared().restores {
                fail_at(at, format!("the session should be {}", if usable { "over" } else { "back" }));
            }
        }
    }

    /// Expects that every call answers `SessionEnded` with a reason, and that nothing restarts the session.
    #[track_caller]
    pub(crate) fn has_ended(&mut self) -> impl Future<Output = ()> + Send + '_ {
        let at = Location::caller();
        async move {
            for call in ["execute", "start", "execute"] {
                let result = match call {
                    "start" => self.start().await,
                    _ => self.try_run("1 + 1").await.map(drop),
                };
                match result {
                    Err(error) if error.kind() == ErrorKind::SessionEnded => check_reason(at, &error),
                    Err(error) => fail_at(at, format!("{call} should answer SessionEnded, but: {error:?}")),
                    Ok(()) => fail_at(at, format!("{call} should answer SessionEnded, but it succeeded")),
                }
            }
        }
    }
}

fn check_reason(at: &Location<'_>, error: &Error) {
    if error.message().trim().is_empty() {
        fail_at(at, "SessionEnded came without a reason");
    }
}

/// Removes the line break and the indentation of code that is written as an indented block in its case.
fn dedented(code: &str) -> String {
    let Some(block) = code.strip_prefix('\n') else { return code.to_owned() };
    let indent = block.len() - block.trim_start_matches(' ').len();
    let lines = block.lines().map(|line| line.get(indent..).unwrap_or(""));
    lines.collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

/// What can be run: plain code, which gets the session's scope, or a cell, which is not changed.
pub(crate) trait IntoCell: Send {
    fn into_cell(self, session: &SessionUnderTest) -> Cell;
}

impl IntoCell for &str {
    fn into_cell(self, session: &SessionUnderTest) -> Cell {
        session.cell(self)
    }
}

impl IntoCell for String {
    fn into_cell(self, session: &SessionUnderTest) -> Cell {
        session.cell(&self)
    }
}

impl IntoCell for Cell {
    fn into_cell(self, _session: &SessionUnderTest) -> Cell {
        self
    }
}

/// What remains in a [`SessionUnderTest`] whose session was moved out.
#[derive(Debug)]
struct Placeholder(Capabilities);

#[async_trait::async_trait]
impl CodeInterpreter for Placeholder {
    fn capabilities(&self) -> &Capabilities {
        &self.0
    }

    async fn start(&mut self) -> Result<()> {
        Err(moved_out())
    }

    async fn execute(&mut self, _: Cell, _: &dyn HostFunctions) -> Result<abyme_core::Observation> {
        Err(moved_out())
    }

    async fn shutdown(&mut self) -> Result<()> {
        Ok(())
    }
}

fn moved_out() -> Error {
    Error::new(ErrorKind::Internal, "the case has given this session away")
}
