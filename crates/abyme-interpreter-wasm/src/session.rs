//! A running session: runs cells in an instance, keeps their time limits, and restores the session after a
//! crash.

use std::{
    fmt,
    io::Read,
    mem,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
    vec,
};

use abyme_core::{
    Cell, Error, ErrorKind, HostCall, HostError, HostFunctions, Observation, OverBudget, PythonError, Result,
    Stage, Value,
};
use abyme_driver::{
    cell::{Cancelled, CellEnd, CellEvent, InterruptTimer, RunningCell, drive},
    repl::{Collector, Done, GivenTexts, KnownScope},
    session_ended,
};
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;

use crate::{
    guest::{
        calls::HostCalls,
        request::{GuestMessage, is_too_large, request, size_in_guest},
    },
    memory::{checkpoint::Checkpoint, snapshot},
    recovery::{self, RECORD_BYTES, Recovery, ReplayableCell},
    runtime::Runtime,
    slots::Slot,
    vm::{CellFailure, Vm},
};

/// Why a session lost its instance when a cell was killed.
const KILLED: &str = "the cell ran over its time limit, did not stop when it was interrupted, and was killed";

/// A session whose memory has grown by more bytes than that is given back on a thread that may block: the
/// system takes some milliseconds for it.
const LARGE: usize = 16 << 20;

/// A running session.
pub(crate) struct WasmSession {
    runtime: Arc<Runtime>,
    calls: HostCalls,
    state: SessionState,
    recovery: Recovery,
    known_scope: KnownScope,
    given: GivenTexts,
    /// The session's slot. It is kept when an instance is lost, so that the next instance need not wait for
    /// one. `None` once the session is over.
    slot: Option<Slot>,
    /// Whether the next cell is the first one of a copy, which seeds `random` anew: it is to differ from its
    /// original, unless both are deterministic.
    is_copy: bool,
}

enum SessionState {
    Idle(Box<Vm>),
    /// A cell runs, or is frozen in the middle because its future was dropped. It owns the instance, so a
    /// dropped `execute` leaves it as it is, to be finished by the next call.
    Running(BoxFuture<'static, GuestEnd>),
    /// The instance was lost for this reason, and the session is not yet restored.
    Lost(String),
    Ended(String),
}

impl Drop for WasmSession {
    fn drop(&mut self) {
        let SessionState::Idle(vm) = &self.state else { return };
        let is_large = vm.memory().len() > self.runtime.base().len() + LARGE;
        if let Some(handle) = Handle::try_current().ok().filter(|_| is_large) {
            let state = mem::replace(&mut self.state, SessionState::Ended("it was shut down".to_owned()));
            let recovery = mem::replace(&mut self.recovery, Recovery::Off);
            handle.spawn_blocking(move || drop((state, recovery)));
        }
    }
}

/// How a cell ended.
enum CellOutcome {
    Done(Box<Vm>, Value),
    NoMemory(Box<Vm>),
    Unanswered(Box<Vm>, OverBudget),
    /// The instance was lost; the reason completes "the interpreter …".
    Lost(String),
    /// The cell ran over its time limit and was killed, with its instance.
    Killed,
    InvalidMessage(String),
}

/// A cell that ran.
struct Ran {
    outcome: CellOutcome,
    /// Whether it was interrupted.
    interrupted: bool,
    /// How long the guest computed.
    time: Duration,
}

/// What the guest's future gives at the end of a cell.
type GuestEnd = (Box<Vm>, Result<Value, CellFailure>);

/// A running cell. Its guest is a future that is polled in turn with the calls it makes.
struct GuestCell<'a> {
    running: &'a mut BoxFuture<'static, GuestEnd>,
    calls: &'a HostCalls,
    /// Calls that the guest started.
    started: vec::IntoIter<(u32, HostCall)>,
    /// How long the guest computed.
    time: Duration,
}

impl RunningCell for GuestCell<'_> {
    type End = GuestEnd;

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<CellEvent<GuestEnd>> {
        let mut next = self.started.next();
        if next.is_none() {
            let start = Instant::now();
            let polled = self.running.as_mut().poll(context);
            self.time += start.elapsed();
            if let Poll::Ready(end) = polled {
                return Poll::Ready(CellEvent::Ended(end));
            }
            self.started = self.calls.lock().take_started().into_iter();
            next = self.started.next();
        }
        match next {
            Some((number, call)) => Poll::Ready(CellEvent::Call { id: number.into(), call }),
            None => Poll::Pending,
        }
    }

    fn answer(&mut self, call: u64, result: Result<Value, HostError>) {
        if let Ok(number) = u32::try_from(call) {
            self.calls.lock().finish(number, result);
        }
    }

    fn takes_answers(&self) -> bool {
        self.calls.lock().takes_results()
    }

    fn interrupt(&mut self) -> bool {
        self.calls.lock().interrupt();
        true
    }

    /// Does nothing: the guest runs only while it is polled, and the next call of the session cleans up.
    fn cancel(&mut self) {}
}

impl fmt::Debug for WasmSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            SessionState::Idle(_) => "idle",
            SessionState::Running(_) => "running",
            SessionState::Lost(_) => "lost",
            SessionState::Ended(reason) => reason,
        };
        f.debug_struct("WasmSession").field("state", &state).finish_non_exhaustive()
    }
}

impl WasmSession {
    /// A new session.
    pub(crate) async fn new(runtime: Arc<Runtime>) -> Result<Self> {
        let (calls, slot) = (HostCalls::new(runtime.config.max_message_bytes), runtime.slot().await?);
        let vm = runtime.instance(calls.clone(), slot.clone()).await?;
        let checkpoint = Checkpoint::of_fresh(&vm);
        Ok(Self::with(runtime, calls, slot, vm, checkpoint, false))
    }

    /// Restores the session that [`snapshot`](Self::snapshot) wrote.
    pub(crate) async fn restore(runtime: Arc<Runtime>, bytes: &[u8]) -> Result<Self> {
        let checkpoint = snapshot::read(bytes, &runtime.key).await?;
        Self::copy(runtime, checkpoint, KnownScope::default()).await
    }

    /// [`restore`](Self::restore) from bytes that are read as they are needed.
    pub(crate) async fn restore_from(runtime: Arc<Runtime>, source: Box<dyn Read + Send>) -> Result<Self> {
        let checkpoint = snapshot::read_from(source, runtime.key.clone()).await?;
        Self::copy(runtime, checkpoint, KnownScope::default()).await
    }

    async fn copy(runtime: Arc<Runtime>, checkpoint: Checkpoint, known_scope: KnownScope) -> Result<Self> {
        let (calls, slot) = (HostCalls::new(runtime.config.max_message_bytes), runtime.slot().await?);
        let vm = checkpoint.restore(&runtime, calls.clone(), slot.clone()).await?;
        let mut live = Self::with(runtime, calls, slot, vm, checkpoint, true);
        live.known_scope = known_scope;
        Ok(live)
    }

    fn with(
        runtime: Arc<Runtime>,
        calls: HostCalls,
        slot: Slot,
        vm: Box<Vm>,
        checkpoint: Checkpoint,
        is_copy: bool,
    ) -> Self {
        let (state, slot, known_scope) = (SessionState::Idle(vm), Some(slot), KnownScope::default());
        let config = &runtime.config;
        let recovery = Recovery::of(checkpoint, config.checkpoints, config.checkpoint_limit_bytes);
        Self { runtime, calls, state, recovery, known_scope, given: GivenTexts::default(), slot, is_copy }
    }

    /// Why the session is over, if it is.
    pub(crate) fn ended(&self) -> Option<&str> {
        match &self.state {
            SessionState::Ended(reason) => Some(reason),
            _ => None,
        }
    }

    /// Finishes a cell whose future was dropped, and restores a lost session.
    pub(crate) async fn start(&mut self) -> Result<()> {
        if let SessionState::Running(_) = self.state {
            let timer = InterruptTimer::expired(self.runtime.config.interrupt_grace);
            let ran = self.run_to_end(&Cancelled, timer).await;
            // Before a replay, which is not to be interrupted.
            self.calls.lock().end();
            self.known_scope.forget();
            match ran.outcome {
                CellOutcome::Done(mut vm, _)
                | CellOutcome::NoMemory(mut vm)
                | CellOutcome::Unanswered(mut vm, _) => {
                    vm.take_record();
                    self.state = SessionState::Idle(vm);
                    self.recovery.add(None);
                }
                CellOutcome::Lost(reason) | CellOutcome::InvalidMessage(reason) => {
                    let reason = format!("a cancelled cell did not stop in order: the interpreter {reason}");
                    self.bring_back(reason).await;
                }
                CellOutcome::Killed => {
                    let reason = format!("a cancelled cell did not stop in order: {KILLED}");
                    self.bring_back(reason).await;
                }
            }
        }
        if let SessionState::Lost(reason) = &self.state {
            // The call that lost the instance was dropped before the session was restored.
            let reason = reason.clone();
            self.bring_back(reason).await;
        }
        match &self.state {
            SessionState::Ended(reason) => Err(session_ended(reason)),
            _ => Ok(()),
        }
    }

    /// Runs one cell. See [`CodeInterpreter::execute`](abyme_core::CodeInterpreter::execute).
    pub(crate) async fn execute(&mut self, cell: Cell, host: &dyn HostFunctions) -> Result<Observation> {
        self.start().await?;
        if let Some(error) = self.too_large(&cell) {
            let mut observation = Observation::default();
            observation.error = Some(error);
            return Ok(observation);
        }
        // The scope is sent only when it changed.
        let scope = self.known_scope.changed(&cell.scope).cloned();
        let given = self.given.number(&cell);
        let is_fixed = matches!(&self.state, SessionState::Idle(vm) if vm.wasi().is_fixed());
        let copied = self.is_copy.then_some(!is_fixed);
        let (cell, request) = request(cell, scope, given, copied).await?;
        if self.recovery.is_due() {
            self.keep_state().await?;
        }
        let SessionState::Idle(mut vm) =
            mem::replace(&mut self.state, SessionState::Ended("it was cut off".to_owned()))
        else {
            return Err(not_idle());
        };
        recovery::begin(&mut vm, cell.determinism, window(cell.max_output_chars));
        let recorded = if self.recovery.records() {
            vm.record(RECORD_BYTES);
            Some(request.clone())
        } else {
            vm.forget_placed_texts();
            None
        };
        self.calls.lock().begin(Collector::new(cell.max_output_chars));
        self.state = SessionState::Running(Box::pin(vm.run(request)));
        let timer = InterruptTimer::new(&cell, self.runtime.config.interrupt_grace);
        let mut ran = self.run_to_end(host, timer).await;
        self.add_to_recovery(&cell, recorded, &mut ran);
        let collector = self.calls.lock().end().unwrap_or_else(|| Collector::new(0));
        self.observe(ran.outcome, collector, &cell, ran.interrupted).await
    }

    /// Adds a cell to those that are replayed after a crash, unless it crashed itself.
    fn add_to_recovery(&mut self, cell: &Cell, request: Option<GuestMessage>, ran: &mut Ran) {
        use CellOutcome::{Done, NoMemory, Unanswered};
        let is_done = matches!(ran.outcome, Done(..));
        let (Done(vm, _) | NoMemory(vm) | Unanswered(vm, _)) = &mut ran.outcome else { return };
        let record = vm.take_record().filter(|_| is_done && !ran.interrupted);
        let replayable = request.zip(record).map(|(request, record)| ReplayableCell {
            request,
            determinism: cell.determinism,
            output_window: window(cell.max_output_chars),
            record,
            // Inputs are copied in from a kept state as they are by a replay.
            time: ran.time.saturating_sub(vm.filling()),
            memory_len: vm.memory().len(),
        });
        self.recovery.add(replayable);
    }

    /// Keeps the present state, for the session to come back to. If the future is dropped, the next cell
    /// begins with that, and looks at all of the memory.
    async fn keep_state(&mut self) -> Result<()> {
        let SessionState::Idle(vm) = &mut self.state else { return Err(not_idle()) };
        let (before, limit) = (self.recovery.take(), self.runtime.config.checkpoint_limit_bytes);
        let state = Checkpoint::take(vm, self.runtime.base(), before, limit).await;
        self.recovery = state.map_or(Recovery::Off, |state| Recovery::of(state, true, limit));
        if !self.recovery.records() {
            vm.stop_watching();
        }
        Ok(())
    }

    /// Copies the session.
    pub(crate) async fn fork(&mut self) -> Result<Self> {
        let checkpoint = self.settled().await?;
        Self::copy(self.runtime.clone(), checkpoint, self.known_scope.clone()).await
    }

    /// Writes the session as bytes.
    pub(crate) async fn snapshot(&mut self) -> Result<Vec<u8>> {
        let checkpoint = self.settled().await?;
        snapshot::write(&checkpoint, &self.runtime.key).await
    }

    /// Returns the state of the session between two cells.
    pub(crate) async fn settled(&mut self) -> Result<Checkpoint> {
        self.start().await?;
        if let Some(state) = self.recovery.present() {
            return Ok(state.clone());
        }
        let SessionState::Idle(vm) = &mut self.state else { return Err(not_idle()) };
        let (on, before) = (!matches!(self.recovery, Recovery::Off), self.recovery.take());
        let state = Checkpoint::take(vm, self.runtime.base(), before, u64::MAX).await;
        let state =
            state.ok_or_else(|| Error::new(ErrorKind::Internal, "a session is larger than any can be"))?;
        self.recovery = Recovery::of(state.clone(), on, self.runtime.config.checkpoint_limit_bytes);
        if !self.recovery.records() {
            vm.stop_watching();
        }
        Ok(state)
    }

    /// The memory between two cells.
    #[cfg(test)]
    pub(crate) fn memory(&self) -> Option<&[u8]> {
        match &self.state {
            SessionState::Idle(vm) => Some(vm.memory()),
            _ => None,
        }
    }

    /// How the session comes back after a crash.
    #[cfg(test)]
    pub(crate) fn recovery(&mut self) -> &mut Recovery {
        &mut self.recovery
    }

    /// The present instance, and what a crash now would bring back; `None` where the next cell begins with
    /// keeping the state.
    #[cfg(test)]
    pub(crate) async fn brought_back(&mut self) -> Option<(&Vm, Result<Box<Vm>, recovery::Problem>)> {
        let (Recovery::Ready(kept), Some(slot)) = (&self.recovery, &self.slot) else { return None };
        if self.recovery.is_due() {
            return None;
        }
        let back = kept.bring_back(&self.runtime, &HostCalls::default(), slot).await;
        match &self.state {
            SessionState::Idle(vm) => Some((vm, back)),
            _ => None,
        }
    }

    async fn observe(
        &mut self,
        outcome: CellOutcome,
        collector: Collector,
        cell: &Cell,
        interrupted: bool,
    ) -> Result<Observation> {
        match outcome {
            CellOutcome::Done(vm, answer) => match Done::from_value(answer) {
                Ok(done) => {
                    self.state = SessionState::Idle(vm);
                    self.is_copy = false;
                    self.known_scope.learn(&cell.scope, &done, interrupted);
                    self.given.learn(&done);
                    Ok(collector.finish(done, interrupted))
                }
                Err(problem) => Err(self.invalid(&problem)),
            },
            CellOutcome::NoMemory(vm) => {
                self.state = SessionState::Idle(vm);
                let mut observation = collector.finish(Done::default(), false);
                observation.error = Some(self.no_memory(cell));
                Ok(observation)
            }
            CellOutcome::Unanswered(vm, problem) => {
                self.state = SessionState::Idle(vm);
                self.known_scope.forget();
                Ok(collector.finish_unanswered(problem))
            }
            CellOutcome::Lost(reason) => {
                let reason = format!("the interpreter {reason}");
                let observation = collector.lost(reason.clone(), false);
                Ok(self.observe_loss(observation, reason).await)
            }
            CellOutcome::Killed => {
                let observation = collector.lost(KILLED.to_owned(), true);
                Ok(self.observe_loss(observation, KILLED.to_owned()).await)
            }
            CellOutcome::InvalidMessage(problem) => Err(self.invalid(&problem)),
        }
    }

    /// The observation of a cell that lost its instance, after restoring the session if that is possible.
    async fn observe_loss(&mut self, mut observation: Observation, reason: String) -> Observation {
        self.bring_back(reason.clone()).await;
        observation.session_ended = self.ended().map(str::to_owned);
        if observation.session_ended.is_none() {
            observation.restored = Some(reason);
        }
        observation
    }

    /// Restores the session as it was before the cell that was lost. If it cannot be restored, it is over.
    async fn bring_back(&mut self, reason: String) {
        self.known_scope.forget();
        let (Recovery::Ready(kept), Some(slot)) = (&self.recovery, &self.slot) else {
            return self.end(reason);
        };
        self.state = SessionState::Lost(reason.clone());
        match kept.bring_back(&self.runtime, &self.calls, slot).await {
            Ok(vm) => self.state = SessionState::Idle(vm),
            Err(problem) => {
                tracing::warn!(%problem, "a session could not be restored");
                self.end(format!("{reason}; the session cannot be restored: {problem}"));
            }
        }
    }

    /// Ends the session and frees its slot.
    fn end(&mut self, reason: String) {
        self.state = SessionState::Ended(reason);
        self.recovery = Recovery::Off;
        self.slot = None;
    }

    fn invalid(&mut self, problem: &str) -> Error {
        let reason =
            format!("the interpreter sent an invalid message and was ended: {}", problem.escape_debug());
        self.end(reason.clone());
        Error::new(ErrorKind::Protocol, reason)
    }

    /// The error of a cell with a variable that cannot fit, found before it is encoded.
    fn too_large(&self, cell: &Cell) -> Option<PythonError> {
        let limit = self.runtime.config.memory_limit_bytes;
        let too_large = cell.variables.iter().any(|(_, value)| is_too_large(value, limit));
        too_large.then(|| self.no_memory(cell))
    }

    /// The error of a cell that does not fit the session's memory.
    fn no_memory(&self, cell: &Cell) -> PythonError {
        let limit = self.runtime.config.memory_limit_bytes >> 20;
        let largest = cell.variables.iter().map(|(name, value)| (size_in_guest(value), name)).max();
        let what = match largest {
            Some((size, name)) if size > 1 << 20 => {
                format!("the variable `{name}` (at least {} MiB in Python)", size >> 20)
            }
            _ => "the cell".to_owned(),
        };
        let message = format!(
            "{what} does not fit what is left of the session's memory; its `memory_limit_bytes` is {limit} \
             MiB"
        );
        PythonError::new("MemoryError", message).stage(Stage::Scope)
    }

    /// Runs the cell to its end.
    async fn run_to_end(&mut self, host: &dyn HostFunctions, timer: InterruptTimer) -> Ran {
        let mut ran = Ran { outcome: CellOutcome::Killed, interrupted: true, time: Duration::ZERO };
        let SessionState::Running(running) = &mut self.state else {
            ran.outcome = CellOutcome::Lost("was not running".to_owned());
            return ran;
        };
        let _ticking = self.runtime.ticker.tick();
        let mut cell = GuestCell {
            running,
            calls: &self.calls,
            started: vec::IntoIter::default(),
            time: Duration::ZERO,
        };
        let end = drive(&mut cell, host, &self.given, timer).await;
        ran.time = cell.time;
        let CellEnd::Ended { end: (vm, result), interrupted } = end else {
            // The guest yields every few milliseconds, so dropping its future ends it.
            self.state = SessionState::Ended(KILLED.to_owned());
            return ran;
        };
        self.state = SessionState::Ended("it was cut off".to_owned());
        ran.interrupted = interrupted;
        ran.outcome = match result {
            Ok(answer) => CellOutcome::Done(vm, answer),
            Err(CellFailure::NoMemory) => CellOutcome::NoMemory(vm),
            Err(CellFailure::Unanswered(problem)) => CellOutcome::Unanswered(vm, problem),
            Err(CellFailure::Lost(reason)) => CellOutcome::Lost(reason),
            Err(CellFailure::InvalidMessage(problem)) => CellOutcome::InvalidMessage(problem),
        };
        ran
    }
}

fn not_idle() -> Error {
    Error::new(ErrorKind::Internal, "a session that was started is not idle")
}

/// How many bytes to keep of each end of what is written to descriptors 1 and 2, so that all characters that
/// are shown are there.
fn window(max_output_chars: usize) -> usize {
    max_output_chars.saturating_mul(4).clamp(64 << 10, 64 << 20)
}
