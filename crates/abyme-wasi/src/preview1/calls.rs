//! One call of a guest into its system. The files in `calls/` hold the functions, grouped by subject.

use wasmtime::{Caller, Extern, Memory};

use super::{memory::GuestMemory, system::Wasi};
use crate::fs::Errno;

mod descriptors;
mod files;
mod paths;
pub(super) mod poll;
mod process;

/// What the data of a wasmtime store must offer for [`add_to_linker`](crate::add_to_linker).
pub trait HasWasi: Sized + 'static {
    /// The guest's system.
    fn wasi(&mut self) -> &mut Wasi;

    /// The guest's memory, if the implementation has it. With `None` each call looks up the export `memory`
    /// by name, which takes time.
    fn memory(&self) -> Option<Memory>;

    /// Takes a pending interrupt. Called whenever a sleeping guest is polled. After `true` the sleep ends at
    /// once, **as if its time had passed**; before that, the implementation tells the guest of the interrupt
    /// through `caller`.
    ///
    /// The sleep does not end with `EINTR`, because `clock_nanosleep` of wasi-libc turns every error into
    /// `ENOTSUP`: the guest would report a failed sleep before it handles the interrupt.
    fn take_interrupt(caller: &mut Caller<'_, Self>) -> bool;
}

/// One call: the system and the memory of the guest. Its methods are the functions of preview 1, by their
/// names there.
pub(super) struct Call<'a> {
    pub(super) wasi: &'a mut Wasi,
    pub(super) memory: GuestMemory<'a>,
}

impl<'a> Call<'a> {
    pub(super) fn of<T: HasWasi>(caller: &'a mut Caller<'_, T>) -> wasmtime::Result<Self> {
        let memory = match caller.data().memory() {
            Some(memory) => memory,
            None => caller
                .get_export("memory")
                .and_then(Extern::into_memory)
                .ok_or_else(|| wasmtime::Error::msg("the guest has no memory called `memory`"))?,
        };
        let (bytes, data) = memory.data_and_store_mut(caller);
        let wasi = data.wasi();
        wasi.journal.check()?;
        wasi.files.set_time(wasi.clock.fixed_day().map(|_| wasi.clock.day()));
        Ok(Self { wasi, memory: GuestMemory(bytes) })
    }

    /// The function is not of files.
    pub(super) fn nothing(&mut self) {}

    /// The function is of files.
    pub(super) fn files(&mut self) {
        self.wasi.forget_mounts();
    }
}

/// The result as the guest gets it: 0, or the error number.
pub(super) fn error_number(result: Result<(), Errno>) -> u32 {
    result.map_or_else(|error| error as u32, |()| 0)
}
