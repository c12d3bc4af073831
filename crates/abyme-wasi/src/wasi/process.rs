//! What is denied, empty, or no matter of files: arguments, environment, signals, sockets, randomness.

use super::{Wasi, memory::GuestMemory};
use crate::fs::Errno;

/// Random bytes are asked for in pieces of this size.
const RANDOM_CHUNK: usize = 1 << 16;

pub(super) fn args_get(_: &mut Wasi, _: &mut GuestMemory<'_>, _list: u32, _text: u32) -> Result<(), Errno> {
    Ok(())
}

pub(super) fn args_sizes_get(
    _: &mut Wasi,
    memory: &mut GuestMemory<'_>,
    count: u32,
    size: u32,
) -> Result<(), Errno> {
    memory.put_u32(count, 0)?;
    memory.put_u32(size, 0)
}

pub(super) fn environ_get(
    _: &mut Wasi,
    _: &mut GuestMemory<'_>,
    _list: u32,
    _text: u32,
) -> Result<(), Errno> {
    Ok(())
}

pub(super) fn environ_sizes_get(
    wasi: &mut Wasi,
    memory: &mut GuestMemory<'_>,
    count: u32,
    size: u32,
) -> Result<(), Errno> {
    args_sizes_get(wasi, memory, count, size)
}

pub(super) fn proc_raise(_: &mut Wasi, _: &mut GuestMemory<'_>, _signal: u32) -> Result<(), Errno> {
    Err(Errno::NoSystemCall)
}

pub(super) fn sched_yield(_: &mut Wasi, _: &mut GuestMemory<'_>) -> Result<(), Errno> {
    Ok(())
}

pub(super) fn random_get(
    _: &mut Wasi,
    memory: &mut GuestMemory<'_>,
    address: u32,
    len: u32,
) -> Result<(), Errno> {
    for chunk in memory.bytes_mut(address, len)?.chunks_mut(RANDOM_CHUNK) {
        getrandom::fill(chunk).map_err(|_| Errno::Io)?;
    }
    Ok(())
}

pub(super) fn sock_accept(
    wasi: &mut Wasi,
    _: &mut GuestMemory<'_>,
    fd: u32,
    _flags: u32,
    _result: u32,
) -> Result<(), Errno> {
    no_socket(wasi, fd)
}

// The arguments are those of the interface.
#[allow(clippy::too_many_arguments)]
pub(super) fn sock_recv(
    wasi: &mut Wasi,
    _: &mut GuestMemory<'_>,
    fd: u32,
    _list: u32,
    _count: u32,
    _flags: u32,
    _size: u32,
    _result: u32,
) -> Result<(), Errno> {
    no_socket(wasi, fd)
}

pub(super) fn sock_send(
    wasi: &mut Wasi,
    _: &mut GuestMemory<'_>,
    fd: u32,
    _list: u32,
    _count: u32,
    _flags: u32,
    _size: u32,
) -> Result<(), Errno> {
    no_socket(wasi, fd)
}

pub(super) fn sock_shutdown(
    wasi: &mut Wasi,
    _: &mut GuestMemory<'_>,
    fd: u32,
    _how: u32,
) -> Result<(), Errno> {
    no_socket(wasi, fd)
}

/// No descriptor ever is one.
fn no_socket(wasi: &Wasi, fd: u32) -> Result<(), Errno> {
    wasi.descriptors.get(fd).and(Err(Errno::NotSocket))
}
