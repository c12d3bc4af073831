//! WASI preview 1 over a [`FileSystem`](crate::FileSystem): the whole system of a guest.
//!
//! All 46 functions are defined. They deny by default: no environment, no arguments, no sockets, no other
//! process, no file of the host that was not mounted. What a guest passes is not trusted: a bad address is an
//! error number.

pub use self::{
    calls::HasWasi,
    checkpoint::WasiCheckpoint,
    journal::{Differs, Journal, Record, function_number},
    linker::{GuestExit, add_to_linker},
    output::CapturedOutput,
    system::Wasi,
};

mod abi;
mod calls;
mod checkpoint;
mod clock;
mod descriptors;
mod journal;
mod linker;
mod memory;
mod output;
mod random;
mod system;
#[cfg(test)]
mod tests;
