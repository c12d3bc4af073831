//! The functions on paths. Each path starts at an open directory; libc itself always passes `/`.

use super::Call;
use crate::{
    fs::{Errno, OpenOptions},
    preview1::{
        abi::{FOLLOW, fd_flag, new_times, open_flag, put_stat, right},
        descriptors::{Descriptor, OpenNode},
    },
};

// The parameters are those of preview 1.
#[allow(clippy::too_many_arguments)]
impl Call<'_> {
    pub(crate) fn path_open(
        &mut self,
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
        let dir = self.wasi.descriptors.directory(fd)?;
        let path = self.memory.path(path, len)?;
        let flags = fd_flag::parse(flags)?;
        // Both are checked before a file is opened or made.
        self.memory.bytes(result, 4)?;
        self.wasi.descriptors.check_room()?;
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
        let (node, kind) = self.wasi.files.open(&dir, &path, options)?;
        let open = OpenNode { node, kind, offset: 0, read, write, flags };
        let fd = self.wasi.descriptors.add(Descriptor::Open(open));
        self.memory.put_u32(result, fd)
    }

    pub(crate) fn path_create_directory(&mut self, fd: u32, path: u32, len: u32) -> Result<(), Errno> {
        let dir = self.wasi.descriptors.directory(fd)?;
        self.wasi.files.create_directory(&dir, &self.memory.path(path, len)?)
    }

    pub(crate) fn path_remove_directory(&mut self, fd: u32, path: u32, len: u32) -> Result<(), Errno> {
        let dir = self.wasi.descriptors.directory(fd)?;
        self.wasi.files.remove_directory(&dir, &self.memory.path(path, len)?)
    }

    pub(crate) fn path_unlink_file(&mut self, fd: u32, path: u32, len: u32) -> Result<(), Errno> {
        let dir = self.wasi.descriptors.directory(fd)?;
        self.wasi.files.remove_file(&dir, &self.memory.path(path, len)?)
    }

    pub(crate) fn path_rename(
        &mut self,
        from_fd: u32,
        from: u32,
        from_len: u32,
        to_fd: u32,
        to: u32,
        to_len: u32,
    ) -> Result<(), Errno> {
        let (from_dir, to_dir) =
            (self.wasi.descriptors.directory(from_fd)?, self.wasi.descriptors.directory(to_fd)?);
        let (from, to) = (self.memory.path(from, from_len)?, self.memory.path(to, to_len)?);
        self.wasi.files.rename((&from_dir, &from), (&to_dir, &to))
    }

    pub(crate) fn path_link(
        &mut self,
        from_fd: u32,
        _lookup: u32,
        from: u32,
        from_len: u32,
        to_fd: u32,
        to: u32,
        to_len: u32,
    ) -> Result<(), Errno> {
        let (from_dir, to_dir) =
            (self.wasi.descriptors.directory(from_fd)?, self.wasi.descriptors.directory(to_fd)?);
        let (from, to) = (self.memory.path(from, from_len)?, self.memory.path(to, to_len)?);
        self.wasi.files.link((&from_dir, &from), (&to_dir, &to))
    }

    pub(crate) fn path_symlink(
        &mut self,
        target: u32,
        target_len: u32,
        fd: u32,
        path: u32,
        len: u32,
    ) -> Result<(), Errno> {
        self.memory.path(target, target_len)?;
        let dir = self.wasi.descriptors.directory(fd)?;
        self.wasi.files.symlink(&dir, &self.memory.path(path, len)?)
    }

    pub(crate) fn path_readlink(
        &mut self,
        fd: u32,
        path: u32,
        len: u32,
        address: u32,
        room: u32,
        result: u32,
    ) -> Result<(), Errno> {
        let dir = self.wasi.descriptors.directory(fd)?;
        let link = self.wasi.files.read_link(&dir, &self.memory.path(path, len)?)?;
        let buffer = self.memory.bytes_mut(address, room)?;
        // A long target is truncated, as POSIX says.
        let count = link.len().min(buffer.len());
        buffer[..count].copy_from_slice(&link.as_bytes()[..count]);
        self.memory.put_u32(result, count as u32)
    }

    pub(crate) fn path_filestat_get(
        &mut self,
        fd: u32,
        lookup: u32,
        path: u32,
        len: u32,
        result: u32,
    ) -> Result<(), Errno> {
        let dir = self.wasi.descriptors.directory(fd)?;
        let stat = self.wasi.files.stat_path(&dir, &self.memory.path(path, len)?, lookup & FOLLOW != 0)?;
        put_stat(&mut self.memory, result, &stat)
    }

    pub(crate) fn path_filestat_set_times(
        &mut self,
        fd: u32,
        lookup: u32,
        path: u32,
        len: u32,
        accessed: u64,
        modified: u64,
        which: u32,
    ) -> Result<(), Errno> {
        let times = new_times(accessed, modified, which, self.wasi.clock.day())?;
        let dir = self.wasi.descriptors.directory(fd)?;
        self.wasi.files.set_times_path(&dir, &self.memory.path(path, len)?, lookup & FOLLOW != 0, times)
    }
}
