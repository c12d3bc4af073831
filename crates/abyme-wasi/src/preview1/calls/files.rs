//! The functions on open files and directories.

use std::ops::Range;

use super::Call;
use crate::{
    fs::{Errno, Kind, Stat},
    preview1::{
        abi::{fd_flag, file_type, new_times, put_stat},
        descriptors::Descriptor,
    },
};

impl Call<'_> {
    pub(crate) fn fd_read(&mut self, fd: u32, list: u32, count: u32, result: u32) -> Result<(), Errno> {
        let total = match self.wasi.descriptors.get(fd)? {
            Descriptor::Input => self.memory.buffers(list, count).map(|_| 0)?,
            Descriptor::Output(_) => return Err(Errno::BadFile),
            Descriptor::Open(open) => {
                let total = self.read(fd, list, count, open.offset)?;
                let open = self.wasi.descriptors.open_node(fd)?;
                open.offset = open.offset.saturating_add(u64::from(total));
                total
            }
        };
        self.memory.put_u32(result, total)
    }

    pub(crate) fn fd_pread(
        &mut self,
        fd: u32,
        list: u32,
        count: u32,
        offset: u64,
        result: u32,
    ) -> Result<(), Errno> {
        self.wasi.descriptors.open_node(fd)?;
        if offset > i64::MAX as u64 {
            return Err(Errno::Invalid);
        }
        let total = self.read(fd, list, count, offset)?;
        self.memory.put_u32(result, total)
    }

    pub(crate) fn fd_write(&mut self, fd: u32, list: u32, count: u32, result: u32) -> Result<(), Errno> {
        let total = match self.wasi.descriptors.get(fd)? {
            Descriptor::Input => return Err(Errno::BadFile),
            Descriptor::Output(stream) => {
                let output = self.wasi.output.get_mut(*stream).ok_or(Errno::BadFile)?;
                let mut total = 0;
                for range in self.memory.buffers(list, count)? {
                    total += range.len();
                    output.write(&self.memory.0[range]);
                }
                // `buffers` has checked that the total fits a `u32`.
                total as u32
            }
            Descriptor::Open(open) => {
                let append = open.flags & fd_flag::APPEND != 0 && open.kind == Kind::File;
                let start = if append { self.wasi.files.stat(&open.node)?.size } else { open.offset };
                let total = self.write(fd, list, count, start)?;
                if total > 0 {
                    self.wasi.descriptors.open_node(fd)?.offset = start.saturating_add(u64::from(total));
                }
                total
            }
        };
        self.memory.put_u32(result, total)
    }

    pub(crate) fn fd_pwrite(
        &mut self,
        fd: u32,
        list: u32,
        count: u32,
        offset: u64,
        result: u32,
    ) -> Result<(), Errno> {
        self.wasi.descriptors.open_node(fd)?;
        if offset > i64::MAX as u64 {
            return Err(Errno::Invalid);
        }
        let total = self.write(fd, list, count, offset)?;
        self.memory.put_u32(result, total)
    }

    pub(crate) fn fd_seek(&mut self, fd: u32, offset: i64, whence: u32, result: u32) -> Result<(), Errno> {
        let open = self.wasi.descriptors.open_node(fd)?;
        let base = match whence {
            0 => 0,
            1 => open.offset,
            2 => self.wasi.files.stat(&open.node)?.size,
            _ => return Err(Errno::Invalid),
        };
        let target = match open.kind {
            Kind::Directory => return Err(Errno::BadFile),
            Kind::CharacterDevice => 0,
            _ => base.checked_add_signed(offset).filter(|at| *at <= i64::MAX as u64).ok_or(Errno::Invalid)?,
        };
        self.memory.put_u64(result, target)?;
        open.offset = target;
        Ok(())
    }

    pub(crate) fn fd_tell(&mut self, fd: u32, result: u32) -> Result<(), Errno> {
        let open = self.wasi.descriptors.open_node(fd)?;
        if open.kind == Kind::Directory {
            return Err(Errno::BadFile);
        }
        self.memory.put_u64(result, open.offset)
    }

    pub(crate) fn fd_advise(&mut self, fd: u32, _offset: u64, _len: u64, advice: u32) -> Result<(), Errno> {
        self.wasi.descriptors.open_node(fd)?;
        if advice <= 5 { Ok(()) } else { Err(Errno::Invalid) }
    }

    pub(crate) fn fd_allocate(&mut self, fd: u32, offset: u64, len: u64) -> Result<(), Errno> {
        let open = self.wasi.descriptors.open_node(fd)?;
        if !open.write {
            return Err(Errno::BadFile);
        }
        self.wasi.files.allocate(&open.node, offset, len)
    }

    pub(crate) fn fd_filestat_set_size(&mut self, fd: u32, size: u64) -> Result<(), Errno> {
        match self.wasi.descriptors.open_node(fd) {
            Ok(open) if open.write => self.wasi.files.set_len(&open.node, size),
            // Linux has one error for both: not a file, and not open for writing.
            Ok(_) | Err(Errno::NotSeekable) => Err(Errno::Invalid),
            Err(error) => Err(error),
        }
    }

    /// Does nothing: no bytes are on their way to a disk.
    pub(crate) fn fd_sync(&mut self, fd: u32) -> Result<(), Errno> {
        self.wasi.descriptors.get(fd).map(|_| ())
    }

    pub(crate) fn fd_datasync(&mut self, fd: u32) -> Result<(), Errno> {
        self.fd_sync(fd)
    }

    pub(crate) fn fd_filestat_get(&mut self, fd: u32, result: u32) -> Result<(), Errno> {
        let stat = match self.wasi.descriptors.get(fd)? {
            Descriptor::Open(open) => self.wasi.files.stat(&open.node)?,
            Descriptor::Input | Descriptor::Output(_) => {
                Stat::constant(0, u64::from(fd), Kind::Unknown, 0, 0)
            }
        };
        put_stat(&mut self.memory, result, &stat)
    }

    pub(crate) fn fd_filestat_set_times(
        &mut self,
        fd: u32,
        accessed: u64,
        modified: u64,
        which: u32,
    ) -> Result<(), Errno> {
        let times = new_times(accessed, modified, which, self.wasi.clock.day())?;
        let open = self.wasi.descriptors.open_node(fd)?;
        self.wasi.files.set_times(&open.node, times)
    }

    /// Fills the buffer with entries, of which the last may be truncated. A buffer that is not full ends the
    /// listing.
    pub(crate) fn fd_readdir(
        &mut self,
        fd: u32,
        address: u32,
        len: u32,
        cookie: u64,
        result: u32,
    ) -> Result<(), Errno> {
        let dir = self.wasi.descriptors.directory(fd)?;
        let buffer = self.memory.bytes_mut(address, len)?;
        let mut used = 0;
        self.wasi.files.list(&dir, cookie, &mut |entry| {
            let mut header = [0; 24];
            header[..8].copy_from_slice(&entry.next.to_le_bytes());
            header[8..16].copy_from_slice(&entry.ino.to_le_bytes());
            // A name has a few hundred bytes at most.
            header[16..20].copy_from_slice(&(entry.name.len() as u32).to_le_bytes());
            header[20] = file_type(entry.kind);
            for part in [&header[..], entry.name.as_bytes()] {
                let count = part.len().min(buffer.len() - used);
                buffer[used..used + count].copy_from_slice(&part[..count]);
                used += count;
            }
            used < buffer.len()
        })?;
        // `used` is at most the length of the buffer, which is a `u32`.
        self.memory.put_u32(result, used as u32)
    }

    /// Reads from a file straight into the guest's buffers.
    fn read(&mut self, fd: u32, list: u32, count: u32, offset: u64) -> Result<u32, Errno> {
        let Descriptor::Open(open) = self.wasi.descriptors.get(fd)? else { return Err(Errno::BadFile) };
        if open.kind == Kind::Directory {
            return Err(Errno::IsDirectory);
        }
        if !open.read {
            return Err(Errno::BadFile);
        }
        let (files, memory) = (&self.wasi.files, &mut self.memory);
        let buffers = memory.buffers(list, count)?;
        transfer(buffers, offset, |offset, buffer| files.read_at(&open.node, offset, &mut memory.0[buffer]))
    }

    /// Writes to a file straight from the guest's buffers.
    fn write(&mut self, fd: u32, list: u32, count: u32, offset: u64) -> Result<u32, Errno> {
        let Descriptor::Open(open) = self.wasi.descriptors.get(fd)? else { return Err(Errno::BadFile) };
        if !open.write {
            return Err(Errno::BadFile);
        }
        let (files, memory) = (&mut self.wasi.files, &self.memory);
        let buffers = memory.buffers(list, count)?;
        transfer(buffers, offset, |offset, buffer| files.write_at(&open.node, offset, &memory.0[buffer]))
    }
}

/// Passes one buffer after the other to `each`, until one is not used up. Returns how many bytes were
/// transferred.
fn transfer(
    buffers: Vec<Range<usize>>,
    mut offset: u64,
    mut each: impl FnMut(u64, Range<usize>) -> Result<usize, Errno>,
) -> Result<u32, Errno> {
    let mut total = 0;
    for buffer in buffers.into_iter().filter(|buffer| !buffer.is_empty()) {
        let len = buffer.len();
        match each(offset, buffer) {
            Ok(done) => {
                total += done as u32;
                offset = offset.saturating_add(done as u64);
                if done < len {
                    break;
                }
            }
            Err(error) if total == 0 => return Err(error),
            // The bytes before it count. The next call meets the error again.
            Err(_) => break,
        }
    }
    Ok(total)
}
