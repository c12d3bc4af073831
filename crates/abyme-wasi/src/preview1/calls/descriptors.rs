//! The functions on descriptors as such.

use super::Call;
use crate::{
    fs::{Errno, Kind},
    preview1::{
        abi::{fd_flag, file_type, right},
        descriptors::{Descriptor, ROOT},
    },
};

impl Call<'_> {
    pub(crate) fn fd_close(&mut self, fd: u32) -> Result<(), Errno> {
        if fd == ROOT {
            return Err(Errno::NotSupported);
        }
        if let Descriptor::Open(open) = self.wasi.descriptors.remove(fd)? {
            self.wasi.files.close(&open.node);
        }
        Ok(())
    }

    pub(crate) fn fd_renumber(&mut self, from: u32, to: u32) -> Result<(), Errno> {
        self.wasi.descriptors.get(from)?;
        self.wasi.descriptors.get(to)?;
        if from == ROOT || to == ROOT {
            return Err(Errno::NotSupported);
        }
        if from != to {
            self.fd_close(to)?;
            let moved = self.wasi.descriptors.remove(from)?;
            self.wasi.descriptors.put(to, moved);
        }
        Ok(())
    }

    pub(crate) fn fd_fdstat_get(&mut self, fd: u32, result: u32) -> Result<(), Errno> {
        // The standard streams are pipes, which have no number: a guest would take a character device for a
        // terminal.
        let (kind, flags, rights, inheriting) = match self.wasi.descriptors.get(fd)? {
            Descriptor::Input => (Kind::Unknown, 0, right::ANY_FILE | right::READ, 0),
            Descriptor::Output(_) => (Kind::Unknown, fd_flag::APPEND, right::ANY_FILE | right::WRITE, 0),
            Descriptor::Open(open) if open.kind == Kind::Directory => {
                (open.kind, open.flags, right::DIRECTORY, right::ALL)
            }
            Descriptor::Open(open) => {
                let read = if open.read { right::READ } else { 0 };
                let write = if open.write { right::WRITE | right::ALLOCATE | right::SET_SIZE } else { 0 };
                (open.kind, open.flags, right::ANY_FILE | right::SEEK | right::TELL | read | write, 0)
            }
        };
        let mut bytes = [0; 24];
        bytes[0] = file_type(kind);
        bytes[2..4].copy_from_slice(&flags.to_le_bytes());
        bytes[8..16].copy_from_slice(&rights.to_le_bytes());
        bytes[16..24].copy_from_slice(&inheriting.to_le_bytes());
        self.memory.put(result, &bytes)
    }

    pub(crate) fn fd_fdstat_set_flags(&mut self, fd: u32, flags: u32) -> Result<(), Errno> {
        let flags = fd_flag::parse(flags)?;
        if let Descriptor::Open(_) = self.wasi.descriptors.get(fd)? {
            self.wasi.descriptors.open_node(fd)?.flags = flags;
        }
        Ok(())
    }

    pub(crate) fn fd_fdstat_set_rights(
        &mut self,
        fd: u32,
        _base: u64,
        _inheriting: u64,
    ) -> Result<(), Errno> {
        self.wasi.descriptors.get(fd).and(Err(Errno::NotSupported))
    }

    pub(crate) fn fd_prestat_get(&mut self, fd: u32, result: u32) -> Result<(), Errno> {
        self.wasi.descriptors.get(fd)?;
        if fd != ROOT {
            // Libc asks for one number after the other until it gets this error.
            return Err(Errno::BadFile);
        }
        // A directory (0), with a name of one byte.
        self.memory.put_u32(result, 0)?;
        self.memory.put_u32(result.checked_add(4).ok_or(Errno::Fault)?, 1)
    }

    pub(crate) fn fd_prestat_dir_name(&mut self, fd: u32, address: u32, len: u32) -> Result<(), Errno> {
        match (fd, len) {
            (ROOT, 1..) => self.memory.put(address, b"/"),
            (ROOT, 0) => Err(Errno::NameTooLong),
            _ => Err(Errno::BadFile),
        }
    }
}
