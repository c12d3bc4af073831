//! How a session comes back after a crash: from the last state that was kept, and the cells since.
//!
//! A guest is deterministic, so the same memory and the same answers of its imports give the same state. What
//! each cell was told is recorded, and a crashed session replays its cells from the last state that was kept,
//! with no effect but on the guest itself. A fresh session starts from the base image, so nothing need be
//! kept for it.
//!
//! A state is kept (that is, a checkpoint is taken) before the next cell where a replay would take long or
//! its records much memory, and after a cell that cannot be replayed: one that was interrupted or dropped,
//! changed files while the host's clock ran, or used files where there are mounts.

use std::time::Duration;

use abyme_core::Determinism;

use crate::{
    guest::{calls::HostCalls, record::CellRecord, request::GuestMessage},
    memory::checkpoint::Checkpoint,
    runtime::Runtime,
    slots::Slot,
    vm::Vm,
};

#[cfg(test)]
mod tests;

/// How much guests may have computed since the last kept state before the next is kept.
const REPLAY_TIME: Duration = Duration::from_millis(20);
/// That, for each page of the last kept state: to keep the state of a large session takes long, and should
/// take little of the time in which its cells compute.
const REPLAY_TIME_PER_PAGE: Duration = Duration::from_micros(5);
/// How many bytes the records may take since the last kept state. Inputs are not among them, which the host
/// has.
pub(crate) const RECORD_BYTES: u64 = 1 << 20;
/// That, as a part of the session's memory, where it is more.
const RECORD_SHARE: u64 = 64;
/// How long a replay may take beyond what the cells took, and how many times as long as they, before it
/// counts as one that goes another way.
const REPLAY_LIMIT: (Duration, u32) = (Duration::from_secs(5), 20);

/// How a session comes back after a crash.
pub(crate) enum Recovery {
    /// It does not: as configured, or because the session was once larger than a checkpoint may be. It stays
    /// so, because a guest gives no memory back.
    Off,
    /// The next cell begins with keeping the state. Here is the last that was kept, if it is not lost.
    Behind(Option<Checkpoint>),
    /// The session is this state and the cells since.
    Ready(Kept),
}

/// A kept state and the cells since.
pub(crate) struct Kept {
    state: Checkpoint,
    cells: Vec<ReplayableCell>,
    /// How long they computed.
    time: Duration,
    /// The bytes that their records take of the host's memory.
    bytes: u64,
    /// The bytes that their inputs take of it.
    input_bytes: u64,
}

/// A cell that ran to its end and can be replayed.
pub(crate) struct ReplayableCell {
    pub(crate) request: GuestMessage,
    pub(crate) determinism: Option<Determinism>,
    /// How much is kept of what is written to each descriptor.
    pub(crate) output_window: usize,
    pub(crate) record: CellRecord,
    /// How long it computed.
    pub(crate) time: Duration,
    /// The size of the guest's memory at its end.
    pub(crate) memory_len: usize,
}

/// Why a session does not come back; completes "the session cannot be restored: ".
pub(crate) type Problem = String;

impl Recovery {
    /// The recovery of a session in this state.
    pub(crate) fn of(state: Checkpoint, on: bool, limit: u64) -> Self {
        if on && state.fits(limit) { Self::Ready(Kept::new(state)) } else { Self::Off }
    }

    /// Whether the next cell must begin with keeping the state.
    pub(crate) fn is_due(&self) -> bool {
        match self {
            Self::Off => false,
            Self::Behind(_) => true,
            Self::Ready(kept) => kept.is_due(),
        }
    }

    /// Whether the cells of the session are recorded.
    pub(crate) fn records(&self) -> bool {
        matches!(self, Self::Ready(_))
    }

    /// The present state of the session, if it is kept.
    pub(crate) fn present(&self) -> Option<&Checkpoint> {
        match self {
            Self::Ready(kept) if kept.cells.is_empty() => Some(&kept.state),
            _ => None,
        }
    }

    /// Takes out the last kept state, for the next one. Until that is there the session cannot come back.
    pub(crate) fn take(&mut self) -> Option<Checkpoint> {
        if let Self::Off = self {
            return None;
        }
        match std::mem::replace(self, Self::Behind(None)) {
            Self::Ready(kept) => Some(kept.state),
            Self::Behind(state) => state,
            Self::Off => None,
        }
    }

    /// Adds a cell that ran to its end, or notes that it cannot be replayed.
    pub(crate) fn add(&mut self, cell: Option<ReplayableCell>) {
        let Self::Ready(kept) = self else { return };
        match cell {
            Some(cell) if cell.bytes() <= RECORD_BYTES => kept.add(cell),
            _ => {
                let state = self.take();
                *self = Self::Behind(state);
            }
        }
    }
}

impl Kept {
    fn new(state: Checkpoint) -> Self {
        Self { state, cells: Vec::new(), time: Duration::ZERO, bytes: 0, input_bytes: 0 }
    }

    fn add(&mut self, cell: ReplayableCell) {
        self.time += cell.time;
        self.bytes += cell.bytes();
        self.input_bytes += cell.request.long_bytes();
        self.cells.push(cell);
    }

    fn is_due(&self) -> bool {
        let Some(last) = self.cells.last() else { return false };
        let pages = u32::try_from(self.state.pages.len()).unwrap_or(u32::MAX);
        self.time > REPLAY_TIME.max(REPLAY_TIME_PER_PAGE * pages)
            || self.bytes > RECORD_BYTES.max(last.memory_len as u64 / RECORD_SHARE)
            // Inputs that the session dropped are kept alive, but not more than it could hold.
            || self.input_bytes > last.memory_len as u64
    }

    /// Makes an instance in the state after the last cell. Other tasks have their turn in between.
    pub(crate) async fn bring_back(
        &self,
        runtime: &Runtime,
        calls: &HostCalls,
        slot: &Slot,
    ) -> Result<Box<Vm>, Problem> {
        let restored = self.state.restore(runtime, calls.clone(), slot.clone()).await;
        let mut vm = restored.map_err(|error| error.to_string())?;
        let (beyond, times) = REPLAY_LIMIT;
        let _ticking = runtime.ticker.tick();
        let replayed = tokio::time::timeout(beyond + self.time * times, async {
            for (at, cell) in self.cells.iter().enumerate() {
                vm = cell.replay(vm).await.map_err(|problem| {
                    let count = self.cells.len();
                    format!("cell {} of the {count} since its last kept state {problem}", at + 1)
                })?;
            }
            Ok(vm)
        });
        replayed.await.unwrap_or_else(|_| Err("its last cells take far longer than before".to_owned()))
    }
}

impl ReplayableCell {
    /// What it takes of the host's memory, inputs left out.
    fn bytes(&self) -> u64 {
        size_of::<Self>() as u64 + self.record.told.size() + self.request.own_bytes()
    }

    /// Runs it once more. The problem completes "cell 1 of the 2 since its last kept state ".
    async fn replay(&self, mut vm: Box<Vm>) -> Result<Box<Vm>, Problem> {
        begin(&mut vm, self.determinism, self.output_window);
        vm.replay(&self.record);
        let (mut vm, outcome) = vm.run(self.request.clone()).await;
        let same = vm.end_replay() && vm.memory().len() == self.memory_len;
        match outcome {
            Ok(_) if same => Ok(vm),
            _ => Err("did not do again what it did when it first ran".to_owned()),
        }
    }
}

/// Sets what a cell sets of the guest's system before it runs.
pub(crate) fn begin(vm: &mut Vm, determinism: Option<Determinism>, output_window: usize) {
    if let Some(Determinism { seed, unix_ms }) = determinism {
        vm.wasi_mut().fix(seed, Duration::from_millis(unix_ms));
    }
    vm.wasi_mut().set_output_window(output_window);
}
