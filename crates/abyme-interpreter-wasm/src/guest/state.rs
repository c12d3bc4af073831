//! The host's data of one guest: what its imports work on.

use abyme_core::{OverBudget, Value};
use abyme_wasi::{HasWasi, Wasi};
use bytes::Bytes;
use wasmtime::{AsContextMut, Caller, Memory, ResourceLimiter};

use crate::guest::{calls::HostCalls, request::GuestMessage};

/// A text that was written into the guest's memory, where it may have been overwritten since.
#[derive(Clone, Debug)]
pub(crate) struct PlacedText {
    /// Its address.
    pub(crate) start: usize,
    pub(crate) bytes: Bytes,
}

/// The host's data of one guest.
pub(crate) struct GuestState {
    pub(crate) wasi: Wasi,
    pub(crate) calls: HostCalls,
    /// The cell to run, until the guest takes it.
    pub(crate) request: GuestMessage,
    /// The message that the guest takes next.
    pub(crate) prepared: GuestMessage,
    /// Texts of the last cell that are in the guest's memory as they are here, byte for byte: its inputs.
    pub(crate) placed: Vec<PlacedText>,
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
            placed: Vec::new(),
            answer: None,
            memory: None,
            interrupt: [0; 4],
            memory_limit_bytes,
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

    fn table_growing(&mut self, _: usize, _: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(maximum.is_some())
    }
}
