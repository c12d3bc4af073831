//! A running session: runs cells in an instance, keeps their time limits, and restores the session after a
//! crash.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
    vec,
};

use abyme_core::{
    Cell, Determinism, Error, ErrorKind, HostCall, HostError, HostFunctions, Observation, OverBudget,
    PythonError, Result, Stage, Value,
};
use abyme_driver::{
    cell::{Cancelled, CellEnd, CellEvent, InterruptTimer, RunningCell, drive},
    repl::{Collector, Done, GivenTexts, KnownScope},
    session_ended,
};
use futures_util::future::BoxFuture;

use crate::{
    guest::{
        calls::HostCalls,
        request::{is_too_large, request, size_in_guest},
    },
    memory::{checkpoint::Checkpoint, snapshot},
    runtime::Runtime,
    slots::Slot,
    vm::{CellFailure, Vm},
};

/// Why a session lost its instance when a cell was killed.
const KILLED: &str = "the cell ran over its time limit, did not stop when it was interrupted, and was killed";

/// A running session.
pub(crate) struct WasmSession {
    runtime: Arc<Runtime>,
    calls: HostCalls,
    state: SessionState,
    checkpoint: LastCheckpoint,
    known_scope: KnownScope,
    given: GivenTexts,
    /// The session's slot. It is kept when an instance is lost, so that the next instance need not wait for
    /// one. `None` once the session is over.
    slot: Option<Slot>,
    /// Whether the next cell is the first one of a copy, which seeds `random` anew: it is to differ from its
    /// original, unless both are deterministic.
    is_copy: bool,
}

/// The checkpoint that a crashed session comes back to.
enum LastCheckpoint {
    /// Cells begin without a checkpoint: as configured, or because the session was once larger than a
    /// checkpoint may be. It stays so, because a guest gives no memory back.
    Off,
    /// There is none; the next cell begins with one.
    Missing,
    /// The state of the session as it is: no cell ran since.
    Current(Checkpoint),
    /// The state before the cell that runs, or before the last one.
    BeforeCell(Checkpoint),
}

impl LastCheckpoint {
    /// Takes the checkpoint out, if there is one. [`Off`](Self::Off) stays as it is.
    fn take(&mut self) -> Option<Checkpoint> {
        if let Self::Off = self {
            return None;
        }
        match std::mem::replace(self, Self::Missing) {
            Self::Current(checkpoint) | Self::BeforeCell(checkpoint) => Some(checkpoint),
            Self::Off | Self::Missing => None,
        }
    }
}

enum SessionState {
    Idle(Box<Vm>),
    /// A cell runs, or is frozen in the middle because its future was dropped. It owns the instance, so a
    /// dropped `execute` leaves it as it is, to be finished by the next call.
    Running(BoxFuture<'static, GuestEnd>),
    /// The instance was lost for this reason, and the session is not yet restored to its checkpoint.
    Lost(String),
    Ended(String),
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

/// What the guest's future gives at the end of a cell.
type GuestEnd = (Box<Vm>, Result<Value, CellFailure>);

/// A running cell. Its guest is a future that is polled in turn with the calls it makes.
struct GuestCell<'a> {
    running: &'a mut BoxFuture<'static, GuestEnd>,
    calls: &'a HostCalls,
    /// Calls that the guest started.
    started: vec::IntoIter<(u32, HostCall)>,
}

impl RunningCell for GuestCell<'_> {
    type End = GuestEnd;

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<CellEvent<GuestEnd>> {
        let mut next = self.started.next();
        if next.is_none() {
            if let Poll::Ready(end) = self.running.as_mut().poll(context) {
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
        let on = runtime.config.checkpoints && checkpoint.fits(runtime.config.checkpoint_limit_bytes);
        let checkpoint = if on { LastCheckpoint::Current(checkpoint) } else { LastCheckpoint::Off };
        Self { runtime, calls, state, checkpoint, known_scope, given: GivenTexts::default(), slot, is_copy }
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
            let (outcome, _) = self.run_to_end(&Cancelled, timer).await;
            self.known_scope.forget();
            match outcome {
                CellOutcome::Done(vm, _) | CellOutcome::NoMemory(vm) | CellOutcome::Unanswered(vm, _) => {
                    self.state = SessionState::Idle(vm);
                }
                CellOutcome::Lost(reason) | CellOutcome::InvalidMessage(reason) => {
                    let reason = format!("a cancelled cell did not stop in order: the interpreter {reason}");
                    self.restore_checkpoint(reason).await;
                }
                CellOutcome::Killed => {
                    let reason = format!("a cancelled cell did not stop in order: {KILLED}");
                    self.restore_checkpoint(reason).await;
                }
            }
            self.calls.lock().end();
        }
        if let SessionState::Lost(reason) = &self.state {
            // The call that lost the instance was dropped before the session was restored.
            let reason = reason.clone();
            self.restore_checkpoint(reason).await;
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
        self.update_checkpoint().await?;
        let SessionState::Idle(mut vm) =
            std::mem::replace(&mut self.state, SessionState::Ended("it was cut off".to_owned()))
        else {
            return Err(not_idle());
        };
        if let Some(checkpoint) = self.checkpoint.take() {
            self.checkpoint = LastCheckpoint::BeforeCell(checkpoint);
        }
        if let Some(Determinism { seed, unix_ms }) = cell.determinism {
            vm.wasi_mut().fix(seed, Duration::from_millis(unix_ms));
        }
        vm.wasi_mut().set_output_window(window(cell.max_output_chars));
        self.calls.lock().begin(Collector::new(cell.max_output_chars));
        self.state = SessionState::Running(Box::pin(vm.run(request)));
        let timer = InterruptTimer::new(&cell, self.runtime.config.interrupt_grace);
        let (outcome, interrupted) = self.run_to_end(host, timer).await;
        let collector = self.calls.lock().end().unwrap_or_else(|| Collector::new(0));
        self.observe(outcome, collector, &cell, interrupted).await
    }

    /// Takes a checkpoint if cells begin with one and the last is of an earlier state. If the future is
    /// dropped, the next cell begins with a checkpoint that looks at all of the memory.
    async fn update_checkpoint(&mut self) -> Result<()> {
        let SessionState::Idle(vm) = &mut self.state else { return Err(not_idle()) };
        if let LastCheckpoint::Off | LastCheckpoint::Current(_) = self.checkpoint {
            return Ok(());
        }
        let (before, limit) = (self.checkpoint.take(), self.runtime.config.checkpoint_limit_bytes);
        self.checkpoint = match Checkpoint::take(vm, self.runtime.base(), before, limit).await {
            Some(checkpoint) => LastCheckpoint::Current(checkpoint),
            None => {
                vm.stop_watching();
                LastCheckpoint::Off
            }
        };
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
        if let LastCheckpoint::Current(checkpoint) = &self.checkpoint {
            return Ok(checkpoint.clone());
        }
        let SessionState::Idle(vm) = &mut self.state else { return Err(not_idle()) };
        let before = self.checkpoint.take();
        let state = Checkpoint::take(vm, self.runtime.base(), before, u64::MAX).await;
        let state =
            state.ok_or_else(|| Error::new(ErrorKind::Internal, "a session is larger than any can be"))?;
        let off = matches!(self.checkpoint, LastCheckpoint::Off);
        if !off && state.fits(self.runtime.config.checkpoint_limit_bytes) {
            self.checkpoint = LastCheckpoint::Current(state.clone());
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
        if self.restore_checkpoint(reason.clone()).await {
            observation.session_ended = None;
            observation.restored = Some(reason);
        }
        observation
    }

    /// Restores the session to its last checkpoint. Returns `false` if there is none or that fails: the
    /// session is over then.
    async fn restore_checkpoint(&mut self, reason: String) -> bool {
        self.known_scope.forget();
        use LastCheckpoint::{BeforeCell, Current};
        let (Current(checkpoint) | BeforeCell(checkpoint), Some(slot)) = (&self.checkpoint, &self.slot)
        else {
            self.end(reason);
            return false;
        };
        self.state = SessionState::Lost(reason.clone());
        match checkpoint.restore(&self.runtime, self.calls.clone(), slot.clone()).await {
            Ok(vm) => {
                self.state = SessionState::Idle(vm);
                self.checkpoint = self.checkpoint.take().map_or(LastCheckpoint::Missing, Current);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "a session could not be restored");
                self.end(reason);
                false
            }
        }
    }

    /// Ends the session and frees its slot.
    fn end(&mut self, reason: String) {
        self.state = SessionState::Ended(reason);
        self.checkpoint = LastCheckpoint::Off;
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

    /// Runs the cell to its end. Returns whether it was interrupted, too.
    async fn run_to_end(&mut self, host: &dyn HostFunctions, timer: InterruptTimer) -> (CellOutcome, bool) {
        let SessionState::Running(running) = &mut self.state else {
            return (CellOutcome::Lost("was not running".to_owned()), false);
        };
        let _ticking = self.runtime.ticker.tick();
        let mut cell = GuestCell { running, calls: &self.calls, started: vec::IntoIter::default() };
        let end = drive(&mut cell, host, &self.given, timer).await;
        let CellEnd::Ended { end: (vm, result), interrupted } = end else {
            // The guest yields every few milliseconds, so dropping its future ends it.
            self.state = SessionState::Ended(KILLED.to_owned());
            return (CellOutcome::Killed, true);
        };
        self.state = SessionState::Ended("it was cut off".to_owned());
        let outcome = match result {
            Ok(answer) => CellOutcome::Done(vm, answer),
            Err(CellFailure::NoMemory) => CellOutcome::NoMemory(vm),
            Err(CellFailure::Unanswered(problem)) => CellOutcome::Unanswered(vm, problem),
            Err(CellFailure::Lost(reason)) => CellOutcome::Lost(reason),
            Err(CellFailure::InvalidMessage(problem)) => CellOutcome::InvalidMessage(problem),
        };
        (outcome, interrupted)
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
