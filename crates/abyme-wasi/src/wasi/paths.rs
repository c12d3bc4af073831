//! The functions on paths. Each starts at an open directory, which is `/` for all that libc does by itself.

use super::{
    Wasi,
    clock::realtime,
    descriptors::{Descriptor, OpenNode},
    memory::GuestMemory,
    types::{FOLLOW, fd_flag, new_times, open_flag, put_stat, right},
};
use crate::fs::{Errno, OpenOptions};

// The arguments are those of the interface.
#[allow(clippy::too_many_arguments)]
pub(super) fn path_open(
    wasi: &mut Wasi,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    lookup: u32,
    path: u32,
    len: u32,
    how: u32,
    rights: u64,
    _inheriting: u64,
    flags: u32,
    result: u32,
) -> Result<(), Errno> {
    let dir = wasi.descriptors.directory(fd)?;
    let path = memory.path(path, len)?;
    let flags = u16::try_from(flags).ok().filter(|flags| flags & !fd_flag::ALL == 0).ok_or(Errno::Invalid)?;
    // Both before anything is opened or made.
    memory.bytes(result, 4)?;
    wasi.descriptors.check_room()?;
    let read = rights & (right::READ | right::READ_DIRECTORY) != 0;
    let write = rights & (right::WRITE | right::ALLOCATE | right::SET_SIZE) != 0;
    let options = OpenOptions {
        write,
        create: how & open_flag::CREATE != 0,
        exclusive: how & open_flag::EXCLUSIVE != 0,
        truncate: how & open_flag::TRUNCATE != 0,
        directory: how & open_flag::DIRECTORY != 0,
        follow: lookup & FOLLOW != 0,
    };
    let (node, kind) = wasi.files.open(&dir, &path, options)?;
    let open = OpenNode { node, kind, offset: 0, read, write, flags };
    let fd = wasi.descriptors.add(Descriptor::Open(open));
    memory.put_u32(result, fd)
}

pub(super) fn path_create_directory(
    wasi: &mut Wasi,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    path: u32,
    len: u32,
) -> Result<(), Errno> {
    let dir = wasi.descriptors.directory(fd)?;
    wasi.files.create_directory(&dir, &memory.path(path, len)?)
}

pub(super) fn path_remove_directory(
    wasi: &mut Wasi,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    path: u32,
    len: u32,
) -> Result<(), Errno> {
    let dir = wasi.descriptors.directory(fd)?;
    wasi.files.remove_directory(&dir, &memory.path(path, len)?)
}

pub(super) fn path_unlink_file(
    wasi: &mut Wasi,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    path: u32,
    len: u32,
) -> Result<(), Errno> {
    let dir = wasi.descriptors.directory(fd)?;
    wasi.files.remove_file(&dir, &memory.path(path, len)?)
}

#[allow(clippy::too_many_arguments)]
pub(super) fn path_rename(
    wasi: &mut Wasi,
    memory: &mut GuestMemory<'_>,
    from_fd: u32,
    from: u32,
    from_len: u32,
    to_fd: u32,
    to: u32,
    to_len: u32,
) -> Result<(), Errno> {
    let (from_dir, to_dir) = (wasi.descriptors.directory(from_fd)?, wasi.descriptors.directory(to_fd)?);
    let (from, to) = (memory.path(from, from_len)?, memory.path(to, to_len)?);
    wasi.files.rename((&from_dir, &from), (&to_dir, &to))
}

#[allow(clippy::too_many_arguments)]
pub(super) fn path_link(
    wasi: &mut Wasi,
    memory: &mut GuestMemory<'_>,
    from_fd: u32,
    _lookup: u32,
    from: u32,
    from_len: u32,
    to_fd: u32,
    to: u32,
    to_len: u32,
) -> Result<(), Errno> {
    let (from_dir, to_dir) = (wasi.descriptors.directory(from_fd)?, wasi.descriptors.directory(to_fd)?);
    let (from, to) = (memory.path(from, from_len)?, memory.path(to, to_len)?);
    wasi.files.link((&from_dir, &from), (&to_dir, &to))
}

pub(super) fn path_symlink(
    wasi: &mut Wasi,
    memory: &mut GuestMemory<'_>,
    target: u32,
    target_len: u32,
    fd: u32,
    path: u32,
    len: u32,
) -> Result<(), Errno> {
    memory.path(target, target_len)?;
    let dir = wasi.descriptors.directory(fd)?;
    wasi.files.symlink(&dir, &memory.path(path, len)?)
}

#[allow(clippy::too_many_arguments)]
pub(super) fn path_readlink(
    wasi: &mut Wasi,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    path: u32,
    len: u32,
    address: u32,
    room: u32,
    result: u32,
) -> Result<(), Errno> {
    let dir = wasi.descriptors.directory(fd)?;
    let link = wasi.files.read_link(&dir, &memory.path(path, len)?)?;
    let buffer = memory.bytes_mut(address, room)?;
    // One that is too long is cut, as everywhere.
    let count = link.len().min(buffer.len());
    buffer[..count].copy_from_slice(&link.as_bytes()[..count]);
    memory.put_u32(result, count as u32)
}

pub(super) fn path_filestat_get(
    wasi: &mut Wasi,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    lookup: u32,
    path: u32,
    len: u32,
    result: u32,
) -> Result<(), Errno> {
    let dir = wasi.descriptors.directory(fd)?;
    let stat = wasi.files.stat_path(&dir, &memory.path(path, len)?, lookup & FOLLOW != 0)?;
    put_stat(memory, result, &stat)
}

#[allow(clippy::too_many_arguments)]
pub(super) fn path_filestat_set_times(
    wasi: &mut Wasi,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    lookup: u32,
    path: u32,
    len: u32,
    accessed: u64,
    modified: u64,
    which: u32,
) -> Result<(), Errno> {
    let times = new_times(accessed, modified, which, realtime())?;
    let dir = wasi.descriptors.directory(fd)?;
    wasi.files.set_times_path(&dir, &memory.path(path, len)?, lookup & FOLLOW != 0, times)
}
