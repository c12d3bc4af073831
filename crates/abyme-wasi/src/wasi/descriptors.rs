//! The table of open descriptors, and the functions that are about a descriptor as such.

use super::{
    Wasi,
    memory::GuestMemory,
    types::{fd_flag, file_type, right},
};
use crate::fs::{Errno, Kind, Node};

/// The most open descriptors.
const MAX_DESCRIPTORS: usize = 256;
/// The descriptor of `/`, from which libc starts every path. It cannot be closed: without it, nothing would work again.
pub(super) const ROOT: u32 = 3;

/// The open descriptors, by number.
#[derive(Debug)]
pub(super) struct Descriptors(Vec<Option<Descriptor>>);

/// What a descriptor stands for.
#[derive(Clone, Debug)]
pub(super) enum Descriptor {
    /// Standard input, which is at its end.
    Input,
    /// Standard output (0) or error (1).
    Output(usize),
    /// A file or directory.
    Open(OpenNode),
}

/// An open file or directory.
#[derive(Clone, Debug)]
pub(super) struct OpenNode {
    pub(super) node: Node,
    pub(super) kind: Kind,
    pub(super) offset: u64,
    pub(super) read: bool,
    pub(super) write: bool,
    pub(super) flags: u16,
}

impl Descriptors {
    /// The first four.
    pub(super) fn new(root: Node) -> Self {
        let standard = [Descriptor::Input, Descriptor::Output(0), Descriptor::Output(1)];
        let mut table = Self(standard.map(Some).into());
        table.put_root(root);
        table
    }

    pub(super) fn empty() -> Self {
        Self(Vec::new())
    }

    /// Puts the descriptor of `/` where it belongs.
    pub(super) fn put_root(&mut self, root: Node) {
        let open =
            OpenNode { node: root, kind: Kind::Directory, offset: 0, read: true, write: false, flags: 0 };
        self.put(ROOT, Descriptor::Open(open));
    }

    pub(super) fn get(&self, fd: u32) -> Result<&Descriptor, Errno> {
        self.0.get(fd as usize).and_then(Option::as_ref).ok_or(Errno::BadFile)
    }

    /// One that is a file or directory.
    pub(super) fn open_node(&mut self, fd: u32) -> Result<&mut OpenNode, Errno> {
        match self.0.get_mut(fd as usize) {
            Some(Some(Descriptor::Open(open))) => Ok(open),
            Some(Some(_)) => Err(Errno::NotSeekable),
            _ => Err(Errno::BadFile),
        }
    }

    /// One that paths can start from.
    pub(super) fn directory(&self, fd: u32) -> Result<Node, Errno> {
        match self.get(fd)? {
            Descriptor::Open(open) if open.kind == Kind::Directory => Ok(open.node.clone()),
            _ => Err(Errno::NotDirectory),
        }
    }

    /// Whether there is room for one more.
    pub(super) fn check_room(&self) -> Result<(), Errno> {
        if self.0.len() < MAX_DESCRIPTORS || self.0.iter().any(Option::is_none) {
            Ok(())
        } else {
            Err(Errno::TooManyFiles)
        }
    }

    /// Gives it the lowest free number. To be called after [`check_room`](Self::check_room).
    pub(super) fn add(&mut self, descriptor: Descriptor) -> u32 {
        let fd = self.0.iter().position(Option::is_none).unwrap_or(self.0.len());
        self.put(fd as u32, descriptor);
        fd as u32
    }

    /// Gives it a number; whatever had it before is dropped. One that cannot be a number is ignored.
    pub(super) fn put(&mut self, fd: u32, descriptor: Descriptor) {
        let index = fd as usize;
        if index >= MAX_DESCRIPTORS {
            return;
        }
        if index >= self.0.len() {
            self.0.resize_with(index + 1, || None);
        }
        self.0[index] = Some(descriptor);
    }

    pub(super) fn remove(&mut self, fd: u32) -> Result<Descriptor, Errno> {
        self.0.get_mut(fd as usize).and_then(Option::take).ok_or(Errno::BadFile)
    }

    /// All of them, with their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Descriptor)> {
        self.0.iter().enumerate().filter_map(|(fd, slot)| Some((fd as u32, slot.as_ref()?)))
    }
}

pub(super) fn fd_close(wasi: &mut Wasi, _: &mut GuestMemory<'_>, fd: u32) -> Result<(), Errno> {
    if fd == ROOT {
        return Err(Errno::NotSupported);
    }
    if let Descriptor::Open(open) = wasi.descriptors.remove(fd)? {
        wasi.files.close(&open.node);
    }
    Ok(())
}

pub(super) fn fd_renumber(
    wasi: &mut Wasi,
    memory: &mut GuestMemory<'_>,
    from: u32,
    to: u32,
) -> Result<(), Errno> {
    wasi.descriptors.get(from)?;
    wasi.descriptors.get(to)?;
    if from == ROOT || to == ROOT {
        return Err(Errno::NotSupported);
    }
    if from != to {
        fd_close(wasi, memory, to)?;
        let moved = wasi.descriptors.remove(from)?;
        wasi.descriptors.put(to, moved);
    }
    Ok(())
}

pub(super) fn fd_fdstat_get(
    wasi: &mut Wasi,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    result: u32,
) -> Result<(), Errno> {
    // The standard streams are pipes, for which there is no number: a character device would be taken for a terminal.
    let (kind, flags, rights, inheriting) = match wasi.descriptors.get(fd)? {
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
    memory.put(result, &bytes)
}

pub(super) fn fd_fdstat_set_flags(
    wasi: &mut Wasi,
    _: &mut GuestMemory<'_>,
    fd: u32,
    flags: u32,
) -> Result<(), Errno> {
    let flags = u16::try_from(flags).ok().filter(|flags| flags & !fd_flag::ALL == 0).ok_or(Errno::Invalid)?;
    if let Descriptor::Open(_) = wasi.descriptors.get(fd)? {
        wasi.descriptors.open_node(fd)?.flags = flags;
    }
    Ok(())
}

pub(super) fn fd_fdstat_set_rights(
    wasi: &mut Wasi,
    _: &mut GuestMemory<'_>,
    fd: u32,
    _base: u64,
    _inheriting: u64,
) -> Result<(), Errno> {
    wasi.descriptors.get(fd).and(Err(Errno::NotSupported))
}

pub(super) fn fd_prestat_get(
    wasi: &mut Wasi,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    result: u32,
) -> Result<(), Errno> {
    wasi.descriptors.get(fd)?;
    if fd != ROOT {
        // Libc asks one number after the other until this answer.
        return Err(Errno::BadFile);
    }
    // A directory (0), with a name of one byte.
    memory.put_u32(result, 0)?;
    memory.put_u32(result.checked_add(4).ok_or(Errno::Fault)?, 1)
}

pub(super) fn fd_prestat_dir_name(
    _: &mut Wasi,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    address: u32,
    len: u32,
) -> Result<(), Errno> {
    match (fd, len) {
        (ROOT, 1..) => memory.put(address, b"/"),
        (ROOT, 0) => Err(Errno::NameTooLong),
        _ => Err(Errno::BadFile),
    }
}
