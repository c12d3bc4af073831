//! The functions on open files and directories.

use super::{
    Wasi,
    clock::realtime,
    descriptors::Descriptor,
    memory::GuestMemory,
    types::{fd_flag, file_type, new_times, put_stat},
};
use crate::fs::{Errno, Kind, Stat};

pub(super) fn fd_read(
    wasi: &mut Wasi,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    list: u32,
    count: u32,
    result: u32,
) -> Result<(), Errno> {
    let total = match wasi.descriptors.get(fd)? {
        Descriptor::Input => memory.buffers(list, count).map(|_| 0)?,
        Descriptor::Output(_) => return Err(Errno::BadFile),
        Descriptor::Open(open) => {
            let total = read(wasi, memory, fd, list, count, open.offset)?;
            let open = wasi.descriptors.open_node(fd)?;
            open.offset = open.offset.saturating_add(u64::from(total));
            total
        }
    };
    memory.put_u32(result, total)
}

pub(super) fn fd_pread(
    wasi: &mut Wasi,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    list: u32,
    count: u32,
    offset: u64,
    result: u32,
) -> Result<(), Errno> {
    wasi.descriptors.open_node(fd)?;
    if offset > i64::MAX as u64 {
        return Err(Errno::Invalid);
    }
    let total = read(wasi, memory, fd, list, count, offset)?;
    memory.put_u32(result, total)
}

pub(super) fn fd_write(
    wasi: &mut Wasi,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    list: u32,
    count: u32,
    result: u32,
) -> Result<(), Errno> {
    let total = match wasi.descriptors.get(fd)? {
        Descriptor::Input => return Err(Errno::BadFile),
        Descriptor::Output(stream) => {
            let output = wasi.output.get_mut(*stream).ok_or(Errno::BadFile)?;
            let mut total = 0;
            for range in memory.buffers(list, count)? {
                total += range.len();
                output.write(&memory.0[range]);
            }
            // The buffers together are no longer than a `u32` can say.
            total as u32
        }
        Descriptor::Open(open) => {
            let append = open.flags & fd_flag::APPEND != 0 && open.kind == Kind::File;
            let start = if append { wasi.files.stat(&open.node)?.size } else { open.offset };
            let total = write(wasi, memory, fd, list, count, start)?;
            if total > 0 {
                wasi.descriptors.open_node(fd)?.offset = start.saturating_add(u64::from(total));
            }
            total
        }
    };
    memory.put_u32(result, total)
}

pub(super) fn fd_pwrite(
    wasi: &mut Wasi,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    list: u32,
    count: u32,
    offset: u64,
    result: u32,
) -> Result<(), Errno> {
    wasi.descriptors.open_node(fd)?;
    if offset > i64::MAX as u64 {
        return Err(Errno::Invalid);
    }
    let total = write(wasi, memory, fd, list, count, offset)?;
    memory.put_u32(result, total)
}

pub(super) fn fd_seek(
    wasi: &mut Wasi,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    offset: i64,
    whence: u32,
    result: u32,
) -> Result<(), Errno> {
    let open = wasi.descriptors.open_node(fd)?;
    let base = match whence {
        0 => 0,
        1 => open.offset,
        2 => wasi.files.stat(&open.node)?.size,
        _ => return Err(Errno::Invalid),
    };
    let target = match open.kind {
        Kind::Directory => return Err(Errno::BadFile),
        Kind::CharacterDevice => 0,
        _ => base.checked_add_signed(offset).filter(|at| *at <= i64::MAX as u64).ok_or(Errno::Invalid)?,
    };
    memory.put_u64(result, target)?;
    open.offset = target;
    Ok(())
}

pub(super) fn fd_tell(
    wasi: &mut Wasi,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    result: u32,
) -> Result<(), Errno> {
    let open = wasi.descriptors.open_node(fd)?;
    if open.kind == Kind::Directory {
        return Err(Errno::BadFile);
    }
    memory.put_u64(result, open.offset)
}

pub(super) fn fd_advise(
    wasi: &mut Wasi,
    _: &mut GuestMemory<'_>,
    fd: u32,
    _offset: u64,
    _len: u64,
    advice: u32,
) -> Result<(), Errno> {
    wasi.descriptors.open_node(fd)?;
    if advice <= 5 { Ok(()) } else { Err(Errno::Invalid) }
}

pub(super) fn fd_allocate(
    wasi: &mut Wasi,
    _: &mut GuestMemory<'_>,
    fd: u32,
    offset: u64,
    len: u64,
) -> Result<(), Errno> {
    let open = wasi.descriptors.open_node(fd)?;
    if !open.write {
        return Err(Errno::BadFile);
    }
    wasi.files.allocate(&open.node, offset, len)
}

pub(super) fn fd_filestat_set_size(
    wasi: &mut Wasi,
    _: &mut GuestMemory<'_>,
    fd: u32,
    size: u64,
) -> Result<(), Errno> {
    match wasi.descriptors.open_node(fd) {
        Ok(open) if open.write => wasi.files.set_len(&open.node, size),
        // As Linux says for both: it is no file, or not open for that.
        Ok(_) | Err(Errno::NotSeekable) => Err(Errno::Invalid),
        Err(error) => Err(error),
    }
}

/// Nothing is ever on its way to a disk.
pub(super) fn fd_sync(wasi: &mut Wasi, _: &mut GuestMemory<'_>, fd: u32) -> Result<(), Errno> {
    wasi.descriptors.get(fd).map(|_| ())
}

pub(super) fn fd_datasync(wasi: &mut Wasi, memory: &mut GuestMemory<'_>, fd: u32) -> Result<(), Errno> {
    fd_sync(wasi, memory, fd)
}

pub(super) fn fd_filestat_get(
    wasi: &mut Wasi,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    result: u32,
) -> Result<(), Errno> {
    let stat = match wasi.descriptors.get(fd)? {
        Descriptor::Open(open) => wasi.files.stat(&open.node)?,
        Descriptor::Input | Descriptor::Output(_) => Stat {
            device: 0,
            ino: u64::from(fd),
            kind: Kind::Unknown,
            links: 1,
            size: 0,
            accessed: 0,
            modified: 0,
            changed: 0,
        },
    };
    put_stat(memory, result, &stat)
}

pub(super) fn fd_filestat_set_times(
    wasi: &mut Wasi,
    _: &mut GuestMemory<'_>,
    fd: u32,
    accessed: u64,
    modified: u64,
    which: u32,
) -> Result<(), Errno> {
    let times = new_times(accessed, modified, which, realtime())?;
    let open = wasi.descriptors.open_node(fd)?;
    wasi.files.set_times(&open.node, times)
}

/// Fills the buffer with entries; the last may be cut off. A buffer that is not full says that there are no more.
pub(super) fn fd_readdir(
    wasi: &mut Wasi,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    address: u32,
    len: u32,
    cookie: u64,
    result: u32,
) -> Result<(), Errno> {
    let dir = wasi.descriptors.directory(fd)?;
    let buffer = memory.bytes_mut(address, len)?;
    let mut used = 0;
    wasi.files.list(&dir, cookie, &mut |entry| {
        let mut header = [0; 24];
        header[..8].copy_from_slice(&entry.next.to_le_bytes());
        header[8..16].copy_from_slice(&entry.ino.to_le_bytes());
        // No name is longer than a few hundred bytes.
        header[16..20].copy_from_slice(&(entry.name.len() as u32).to_le_bytes());
        header[20] = file_type(entry.kind);
        for part in [&header[..], entry.name.as_bytes()] {
            let count = part.len().min(buffer.len() - used);
            buffer[used..used + count].copy_from_slice(&part[..count]);
            used += count;
        }
        used < buffer.len()
    })?;
    // No longer than the buffer, whose length is a `u32`.
    memory.put_u32(result, used as u32)
}

/// Reads into the guest's buffers, straight from where the file's bytes are.
fn read(
    wasi: &Wasi,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    list: u32,
    count: u32,
    mut offset: u64,
) -> Result<u32, Errno> {
    let Descriptor::Open(open) = wasi.descriptors.get(fd)? else { return Err(Errno::BadFile) };
    if open.kind == Kind::Directory {
        return Err(Errno::IsDirectory);
    }
    if !open.read {
        return Err(Errno::BadFile);
    }
    let mut total = 0;
    for range in memory.buffers(list, count)? {
        let wanted = range.len();
        if wanted == 0 {
            continue;
        }
        match wasi.files.read_at(&open.node, offset, &mut memory.0[range]) {
            Ok(done) => {
                total += done as u32;
                offset = offset.saturating_add(done as u64);
                if done < wanted {
                    break;
                }
            }
            Err(error) if total == 0 => return Err(error),
            // What was read counts; the error comes again with the next read.
            Err(_) => break,
        }
    }
    Ok(total)
}

/// Writes the guest's buffers, straight to where the file's bytes are.
fn write(
    wasi: &mut Wasi,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    list: u32,
    count: u32,
    mut offset: u64,
) -> Result<u32, Errno> {
    let Descriptor::Open(open) = wasi.descriptors.get(fd)? else { return Err(Errno::BadFile) };
    if !open.write {
        return Err(Errno::BadFile);
    }
    let mut total = 0;
    for range in memory.buffers(list, count)? {
        let wanted = range.len();
        if wanted == 0 {
            continue;
        }
        match wasi.files.write_at(&open.node, offset, &memory.0[range]) {
            Ok(done) => {
                total += done as u32;
                offset = offset.saturating_add(done as u64);
                if done < wanted {
                    break;
                }
            }
            Err(error) if total == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(total)
}
