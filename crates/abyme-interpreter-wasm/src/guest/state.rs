//! The host's data of one guest: what its imports work on.

use std::{collections::BTreeMap, time::Duration};

use abyme_core::{OverBudget, Value};
use abyme_wasi::{HasWasi, Wasi};
use bytes::Bytes;
use twox_hash::XxHash3_64;
use wasmtime::{AsContextMut, Caller, Memory, ResourceLimiter};

use crate::guest::{calls::HostCalls, record::Replies, request::GuestMessage};

/// Texts that were written into the guest's memory, where they may have been overwritten since. No two are in
/// the same place, so the size of the memory bounds them.
#[derive(Clone, Debug, Default)]
pub(crate) struct PlacedTexts(BTreeMap<usize, Bytes>);

impl PlacedTexts {
    /// Adds a text at its address, in place of those that were there.
    pub(crate) fn insert(&mut self, start: usize, text: Bytes) {
        let end = start + text.len();
        while let Some((other, before)) = self.0.range(..end).next_back()
            && other + before.len() > start
        {
            let other = *other;
            self.0.remove(&other);
        }
        self.0.insert(start, text);
    }

    /// The part of a text that `len` bytes at `at` are, or were.
    pub(crate) fn part(&self, at: usize, len: usize) -> Option<Bytes> {
        let (start, text) = self.0.range(..=at).next_back()?;
        let part = at - start..at - start + len;
        (part.end <= text.len()).then(|| text.slice(part))
    }

    /// How many bytes they have.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.0.values().map(Bytes::len).sum()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

/// The host's data of one guest.
pub(crate) struct GuestState {
    pub(crate) wasi: Wasi,
    pub(crate) calls: HostCalls,
    /// The cell to run, until the guest takes it.
    pub(crate) request: GuestMessage,
    /// The message that the guest takes next.
    pub(crate) prepared: GuestMessage,
    /// Inputs that are in the guest's memory as they are here, byte for byte: those since the last
    /// checkpoint, or without checkpoints those of the last cell.
    pub(crate) placed: PlacedTexts,
    /// The replies of the cell that is recorded or replayed.
    pub(crate) replies: Replies,
    /// How long the host wrote long objects into the guest's memory in this cell.
    pub(crate) filling: Duration,
    /// The result of the last cell, unless it is too large.
    pub(crate) answer: Option<Result<Value, OverBudget>>,
    /// The guest's memory, once the instance exists.
    pub(crate) memory: Option<Memory>,
    /// Where CPython looks for signals, see `abyme_interrupt` in `GUEST.md`.
    pub(crate) interrupt: [u32; 4],
    /// The largest size of the linear memory.
    pub(crate) memory_limit_bytes: usize,
}

impl GuestState {
    pub(crate) fn new(wasi: Wasi, calls: HostCalls, memory_limit_bytes: usize) -> Self {
        Self {
            wasi,
            calls,
            request: GuestMessage::default(),
            prepared: GuestMessage::default(),
            placed: PlacedTexts::default(),
            replies: Replies::default(),
            filling: Duration::ZERO,
            answer: None,
            memory: None,
            interrupt: [0; 4],
            memory_limit_bytes,
        }
    }

    /// Notes a call of an import and what it passes, where a cell is recorded or replayed.
    pub(crate) fn note(&mut self, function: u64, passed: &[u64]) {
        self.wasi.journal().note(function, passed);
    }

    /// Notes a call that passes data.
    pub(crate) fn note_data(&mut self, function: u64, passed: u64, data: &[u8]) {
        let journal = self.wasi.journal();
        if journal.is_on() {
            journal.note(function, &[passed, data.len() as u64, XxHash3_64::oneshot(data)]);
        }
    }

    pub(crate) fn memory(&self) -> wasmtime::Result<Memory> {
        self.memory.ok_or_else(|| wasmtime::Error::msg("the guest has no memory yet"))
    }

    /// Sets CPython's own flags for SIGINT: its handler runs before the next bytecode.
    pub(crate) fn interrupt(mut store: impl AsContextMut<Data = GuestState>) -> wasmtime::Result<()> {
        let mut store = store.as_context_mut();
        let [tripped, any, breaker, bit] = store.data().interrupt;
        if tripped == 0 {
            return Ok(()); // CPython has no handler yet
        }
        let memory = store.data().memory()?;
        memory.write(&mut store, tripped as usize, &1_u32.to_le_bytes())?;
        memory.write(&mut store, any as usize, &1_u32.to_le_bytes())?;
        let mut flags = [0; 4];
        memory.read(&store, breaker as usize, &mut flags)?;
        let flags = u32::from_le_bytes(flags) | bit;
        memory.write(&mut store, breaker as usize, &flags.to_le_bytes())?;
        Ok(())
    }
}

impl HasWasi for GuestState {
    fn wasi(&mut self) -> &mut Wasi {
        &mut self.wasi
    }

    fn memory(&self) -> Option<Memory> {
        self.memory
    }

    fn take_interrupt(caller: &mut Caller<'_, Self>) -> bool {
        let interrupted = caller.data().calls.lock().take_interrupt();
        // A guest whose flags have no address yet cannot be interrupted: the sleep goes on.
        interrupted && GuestState::interrupt(caller).is_ok()
    }
}

/// Code that needs more than the limit gets a `MemoryError`.
impl ResourceLimiter for GuestState {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= self.memory_limit_bytes)
    }

    /// The system has no memory left: what the guest does then depends on the system.
    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        tracing::debug!(%error, "the memory of a session cannot grow");
        self.wasi.journal().forget();
        Ok(())
    }

    fn table_growing(&mut self, _: usize, _: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(maximum.is_some())
    }
}
