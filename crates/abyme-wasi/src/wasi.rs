//! WASI preview 1 over a private [`FileSystem`]: all that a guest can ask of its system.
//!
//! All 46 functions are there, and deny by default: no environment, no arguments, no sockets, no other process, no file
//! of the host that was not mounted. What a guest passes is never trusted: a bad address is an error number.

use std::fmt;

use wasmtime::{Caller, Extern, Linker, Memory};

pub use self::checkpoint::WasiCheckpoint;
use self::{clock::Clock, descriptors::Descriptors, memory::GuestMemory, output::RawOutput};
use crate::fs::{Errno, FileSystem};

mod checkpoint;
mod clock;
mod descriptors;
mod files;
mod memory;
mod output;
mod paths;
mod poll;
mod process;
#[cfg(test)]
mod tests;
mod types;

/// The module that guests import this from.
const MODULE: &str = "wasi_snapshot_preview1";

/// What a store's data has to offer.
pub trait HasWasi: Sized + 'static {
    /// The guest's system.
    fn wasi(&mut self) -> &mut Wasi;

    /// The guest's memory, if it was looked up already: to look it up by name at each call takes time.
    fn memory(&self) -> Option<Memory>;

    /// Asked whenever a sleeping guest is polled. With `true` the sleep ends at once, **as if its time had passed**;
    /// CPython then sees its signal flag, which the implementation has set through `caller`, before anything else runs.
    ///
    /// Not with `EINTR`: `clock_nanosleep` of wasi-libc makes `ENOTSUP` of any error, and `time.sleep` would raise
    /// `OSError` before `KeyboardInterrupt` can come.
    fn take_interrupt(caller: &mut Caller<'_, Self>) -> bool;
}

/// The system of one guest: its files, descriptors, output and clocks.
#[derive(Debug)]
pub struct Wasi {
    files: FileSystem,
    descriptors: Descriptors,
    output: [RawOutput; 2],
    clock: Clock,
}

/// The guest ended itself with this status. To be found by downcast in the error of the call into the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestExit(pub u32);

impl Wasi {
    /// A system with descriptors 0 (at its end), 1 and 2 (kept for [`take_output`](Self::take_output)) and 3 (`/`).
    pub fn new(files: FileSystem) -> Self {
        let descriptors = Descriptors::new(files.root());
        Self { files, descriptors, output: Default::default(), clock: Clock::new() }
    }

    /// Takes what was written to descriptor 1 (`stream` 0) or 2 (`stream` 1) since the last time: the start, how many
    /// characters are left out, and the end. `None` if nothing was.
    pub fn take_output(&mut self, stream: usize) -> Option<(Vec<u8>, u64, Vec<u8>)> {
        self.output.get_mut(stream)?.take()
    }

    /// How many bytes to keep from each end of what is written to descriptors 1 and 2.
    pub fn set_window(&mut self, bytes: usize) {
        for output in &mut self.output {
            output.set_window(bytes);
        }
    }
}

/// Defines all of `wasi_snapshot_preview1`. Sleeping needs a tokio runtime with time enabled around the guest's calls.
///
/// # Errors
/// If a function of this name is defined already.
pub fn add_to_linker<T: HasWasi + Send + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    /// Defines `module::name` under its own name. Each takes the system, the memory, and what the guest passes.
    macro_rules! define {
        ($($module:ident::$name:ident($($argument:ident: $type:ty),*);)*) => {$(
            linker.func_wrap(
                MODULE,
                stringify!($name),
                |mut caller: Caller<'_, T>, $($argument: $type),*| -> wasmtime::Result<u32> {
                    let (wasi, mut memory) = parts(&mut caller)?;
                    Ok(number($module::$name(wasi, &mut memory, $($argument),*)))
                },
            )?;
        )*};
    }

    define! {
        process::args_get(list: u32, text: u32);
        process::args_sizes_get(count: u32, size: u32);
        process::environ_get(list: u32, text: u32);
        process::environ_sizes_get(count: u32, size: u32);
        process::proc_raise(signal: u32);
        process::random_get(address: u32, len: u32);
        process::sched_yield();
        process::sock_accept(fd: u32, flags: u32, result: u32);
        process::sock_recv(fd: u32, list: u32, count: u32, flags: u32, size: u32, result: u32);
        process::sock_send(fd: u32, list: u32, count: u32, flags: u32, size: u32);
        process::sock_shutdown(fd: u32, how: u32);
        clock::clock_res_get(id: u32, result: u32);
        clock::clock_time_get(id: u32, precision: u64, result: u32);
        descriptors::fd_close(fd: u32);
        descriptors::fd_fdstat_get(fd: u32, result: u32);
        descriptors::fd_fdstat_set_flags(fd: u32, flags: u32);
        descriptors::fd_fdstat_set_rights(fd: u32, base: u64, inheriting: u64);
        descriptors::fd_prestat_dir_name(fd: u32, address: u32, len: u32);
        descriptors::fd_prestat_get(fd: u32, result: u32);
        descriptors::fd_renumber(from: u32, to: u32);
        files::fd_advise(fd: u32, offset: u64, len: u64, advice: u32);
        files::fd_allocate(fd: u32, offset: u64, len: u64);
        files::fd_datasync(fd: u32);
        files::fd_filestat_get(fd: u32, result: u32);
        files::fd_filestat_set_size(fd: u32, size: u64);
        files::fd_filestat_set_times(fd: u32, accessed: u64, modified: u64, which: u32);
        files::fd_pread(fd: u32, list: u32, count: u32, offset: u64, result: u32);
        files::fd_pwrite(fd: u32, list: u32, count: u32, offset: u64, result: u32);
        files::fd_read(fd: u32, list: u32, count: u32, result: u32);
        files::fd_readdir(fd: u32, address: u32, len: u32, cookie: u64, result: u32);
        files::fd_seek(fd: u32, offset: i64, whence: u32, result: u32);
        files::fd_sync(fd: u32);
        files::fd_tell(fd: u32, result: u32);
        files::fd_write(fd: u32, list: u32, count: u32, result: u32);
        paths::path_create_directory(fd: u32, path: u32, len: u32);
        paths::path_filestat_get(fd: u32, lookup: u32, path: u32, len: u32, result: u32);
        paths::path_filestat_set_times(
            fd: u32, lookup: u32, path: u32, len: u32, accessed: u64, modified: u64, which: u32
        );
        paths::path_link(
            from_fd: u32, lookup: u32, from: u32, from_len: u32, to_fd: u32, to: u32, to_len: u32
        );
        paths::path_open(
            fd: u32, lookup: u32, path: u32, len: u32, how: u32, rights: u64, inheriting: u64, flags: u32, result: u32
        );
        paths::path_readlink(fd: u32, path: u32, len: u32, address: u32, room: u32, result: u32);
        paths::path_remove_directory(fd: u32, path: u32, len: u32);
        paths::path_rename(from_fd: u32, from: u32, from_len: u32, to_fd: u32, to: u32, to_len: u32);
        paths::path_symlink(target: u32, target_len: u32, fd: u32, path: u32, len: u32);
        paths::path_unlink_file(fd: u32, path: u32, len: u32);
    }
    linker.func_wrap(MODULE, "proc_exit", |status: u32| -> wasmtime::Result<()> {
        Err(GuestExit(status).into())
    })?;
    linker.func_wrap_async(
        MODULE,
        "poll_oneoff",
        |mut caller: Caller<'_, T>, (wanted, events, count, result): (u32, u32, u32, u32)| {
            Box::new(async move { poll::poll_oneoff(&mut caller, wanted, events, count, result).await })
        },
    )?;
    Ok(())
}

/// The system and the memory of the guest that calls.
fn parts<'a, T: HasWasi>(caller: &'a mut Caller<'_, T>) -> wasmtime::Result<(&'a mut Wasi, GuestMemory<'a>)> {
    let memory = match caller.data().memory() {
        Some(memory) => memory,
        None => caller
            .get_export("memory")
            .and_then(Extern::into_memory)
            .ok_or_else(|| wasmtime::Error::msg("the guest has no memory called `memory`"))?,
    };
    let (bytes, data) = memory.data_and_store_mut(caller);
    Ok((data.wasi(), GuestMemory(bytes)))
}

/// The answer to the guest: 0, or what went wrong.
fn number(result: Result<(), Errno>) -> u32 {
    result.map_or_else(|error| error as u32, |()| 0)
}

impl fmt::Display for GuestExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the guest ended itself with status {}", self.0)
    }
}

impl std::error::Error for GuestExit {}
