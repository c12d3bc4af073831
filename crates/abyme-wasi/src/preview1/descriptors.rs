//! The table of open descriptors.

use crate::fs::{Errno, Kind, Node};

/// The most open descriptors.
const MAX_DESCRIPTORS: usize = 256;
/// The descriptor of `/`, at which libc starts every path. It cannot be closed: no path would work after
/// that.
pub(super) const ROOT: u32 = 3;

/// The open descriptors, by number.
#[derive(Debug)]
pub(super) struct Descriptors(Vec<Option<Descriptor>>);

/// An open descriptor.
#[derive(Clone, Debug)]
pub(super) enum Descriptor {
    /// Standard input, always at its end.
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
    /// The table of a new guest: descriptors 0 to 3.
    pub(super) fn new(root: Node) -> Self {
        let standard = [Descriptor::Input, Descriptor::Output(0), Descriptor::Output(1)];
        let mut table = Self(standard.map(Some).into());
        table.put_root(root);
        table
    }

    pub(super) fn empty() -> Self {
        Self(Vec::new())
    }

    /// Sets the descriptor of `/`.
    pub(super) fn put_root(&mut self, root: Node) {
        let open =
            OpenNode { node: root, kind: Kind::Directory, offset: 0, read: true, write: false, flags: 0 };
        self.put(ROOT, Descriptor::Open(open));
    }

    pub(super) fn get(&self, fd: u32) -> Result<&Descriptor, Errno> {
        self.0.get(fd as usize).and_then(Option::as_ref).ok_or(Errno::BadFile)
    }

    /// The descriptor, if it is a file or directory.
    pub(super) fn open_node(&mut self, fd: u32) -> Result<&mut OpenNode, Errno> {
        match self.0.get_mut(fd as usize) {
            Some(Some(Descriptor::Open(open))) => Ok(open),
            Some(Some(_)) => Err(Errno::NotSeekable),
            _ => Err(Errno::BadFile),
        }
    }

    /// The node of the descriptor, if paths can start at it.
    pub(super) fn directory(&self, fd: u32) -> Result<Node, Errno> {
        match self.get(fd)? {
            Descriptor::Open(open) if open.kind == Kind::Directory => Ok(open.node.clone()),
            _ => Err(Errno::NotDirectory),
        }
    }

    /// Fails if the table is full.
    pub(super) fn check_room(&self) -> Result<(), Errno> {
        if self.0.len() < MAX_DESCRIPTORS || self.0.iter().any(Option::is_none) {
            Ok(())
        } else {
            Err(Errno::TooManyFiles)
        }
    }

    /// Adds a descriptor under the lowest free number. The caller has called
    /// [`check_room`](Self::check_room).
    pub(super) fn add(&mut self, descriptor: Descriptor) -> u32 {
        let fd = self.0.iter().position(Option::is_none).unwrap_or(self.0.len());
        self.put(fd as u32, descriptor);
        fd as u32
    }

    /// Sets the descriptor of a number, in place of the old one. Ignores a number beyond the limit.
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

    /// All descriptors with their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Descriptor)> {
        self.0.iter().enumerate().filter_map(|(fd, slot)| Some((fd as u32, slot.as_ref()?)))
    }
}
