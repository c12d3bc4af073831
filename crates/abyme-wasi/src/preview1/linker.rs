//! The functions of preview 1, defined in a linker.

use std::fmt;

use wasmtime::{Caller, Linker};

use super::{
    calls::{Call, HasWasi, error_number, poll::poll_oneoff},
    journal::function_number,
};

/// The module that guests import.
pub(super) const MODULE: &str = "wasi_snapshot_preview1";

/// The guest ended itself with this status. The error of the call into the guest downcasts to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestExit(pub u32);

/// Defines all of `wasi_snapshot_preview1`. A sleep needs a tokio runtime with time enabled around the
/// guest's calls.
///
/// # Errors
/// If the linker has a function of one of these names already.
pub fn add_to_linker<T: HasWasi + Send + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    /// Defines functions that are methods of [`Call`], with the parameters that the guest passes. The journal
    /// notes each. Before one of files it forgets its record, where there are mounts.
    macro_rules! define {
        ($before:ident; $($name:ident($($argument:ident: $type:ty),*);)*) => {$(
            linker.func_wrap(
                MODULE,
                stringify!($name),
                |mut caller: Caller<'_, T>, $($argument: $type),*| -> wasmtime::Result<u32> {
                    let mut call = Call::of(&mut caller)?;
                    call.$before();
                    let answer = error_number(call.$name($($argument),*));
                    let function = const { function_number(stringify!($name)) };
                    call.wasi.journal.note(function, &[u64::from(answer), $($argument as u64),*]);
                    Ok(answer)
                },
            )?;
        )*};
    }

    define! {
        nothing;
        args_get(list: u32, text: u32);
        args_sizes_get(count: u32, size: u32);
        environ_get(list: u32, text: u32);
        environ_sizes_get(count: u32, size: u32);
        proc_raise(signal: u32);
        random_get(address: u32, len: u32);
        sched_yield();
        sock_accept(fd: u32, flags: u32, result: u32);
        sock_recv(fd: u32, list: u32, count: u32, flags: u32, size: u32, result: u32);
        sock_send(fd: u32, list: u32, count: u32, flags: u32, size: u32);
        sock_shutdown(fd: u32, how: u32);
        clock_res_get(id: u32, result: u32);
        clock_time_get(id: u32, precision: u64, result: u32);
    }
    define! {
        files;
        fd_close(fd: u32);
        fd_fdstat_get(fd: u32, result: u32);
        fd_fdstat_set_flags(fd: u32, flags: u32);
        fd_fdstat_set_rights(fd: u32, base: u64, inheriting: u64);
        fd_prestat_dir_name(fd: u32, address: u32, len: u32);
        fd_prestat_get(fd: u32, result: u32);
        fd_renumber(from: u32, to: u32);
        fd_advise(fd: u32, offset: u64, len: u64, advice: u32);
        fd_allocate(fd: u32, offset: u64, len: u64);
        fd_datasync(fd: u32);
        fd_filestat_get(fd: u32, result: u32);
        fd_filestat_set_size(fd: u32, size: u64);
        fd_filestat_set_times(fd: u32, accessed: u64, modified: u64, which: u32);
        fd_pread(fd: u32, list: u32, count: u32, offset: u64, result: u32);
        fd_pwrite(fd: u32, list: u32, count: u32, offset: u64, result: u32);
        fd_read(fd: u32, list: u32, count: u32, result: u32);
        fd_readdir(fd: u32, address: u32, len: u32, cookie: u64, result: u32);
        fd_seek(fd: u32, offset: i64, whence: u32, result: u32);
        fd_sync(fd: u32);
        fd_tell(fd: u32, result: u32);
        fd_write(fd: u32, list: u32, count: u32, result: u32);
        path_create_directory(fd: u32, path: u32, len: u32);
        path_filestat_get(fd: u32, lookup: u32, path: u32, len: u32, result: u32);
        path_filestat_set_times(
            fd: u32, lookup: u32, path: u32, len: u32, accessed: u64, modified: u64, which: u32
        );
        path_link(
            from_fd: u32, lookup: u32, from: u32, from_len: u32, to_fd: u32, to: u32, to_len: u32
        );
        path_open(
            fd: u32, lookup: u32, path: u32, len: u32, how: u32, rights: u64, inheriting: u64, flags: u32,
            result: u32
        );
        path_readlink(fd: u32, path: u32, len: u32, address: u32, room: u32, result: u32);
        path_remove_directory(fd: u32, path: u32, len: u32);
        path_rename(from_fd: u32, from: u32, from_len: u32, to_fd: u32, to: u32, to_len: u32);
        path_symlink(target: u32, target_len: u32, fd: u32, path: u32, len: u32);
        path_unlink_file(fd: u32, path: u32, len: u32);
    }
    linker.func_wrap(MODULE, "proc_exit", |status: u32| -> wasmtime::Result<()> {
        Err(GuestExit(status).into())
    })?;
    linker.func_wrap_async(
        MODULE,
        "poll_oneoff",
        |mut caller: Caller<'_, T>, (subscriptions, events, count, result): (u32, u32, u32, u32)| {
            Box::new(async move { poll_oneoff(&mut caller, subscriptions, events, count, result).await })
        },
    )?;
    Ok(())
}

impl fmt::Display for GuestExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the guest ended itself with status {}", self.0)
    }
}

impl std::error::Error for GuestExit {}
