//! The file system, and what is done with its open nodes.

use std::sync::Arc;

use super::{
    archive::Archive,
    errno::Errno,
    fixed::{self, FixedTree},
    mount::{Mount, OpenMount},
    node::Node,
    private::{Quota, Tree},
    stat::{NewTimes, Stat},
};

/// The files of one guest.
#[derive(Clone, Debug)]
pub struct FileSystem {
    pub(super) fixed: Arc<FixedTree>,
    pub(super) private: Arc<Tree>,
    pub(super) quota: Quota,
    /// The time that changes are given, in nanoseconds since 1970; the host's if there is none.
    time: Option<u64>,
    has_mounts: bool,
}

impl FileSystem {
    /// Creates a file system that holds nothing but the archive and the mounts. The mounts are opened once,
    /// for all clones.
    ///
    /// # Errors
    /// A sentence that lists all that is wrong with the mounts.
    pub fn new(quota: Quota, archive: Arc<Archive>, mounts: &[Mount]) -> Result<Self, String> {
        let mounts = OpenMount::open_all(mounts)?;
        let has_mounts = !mounts.is_empty();
        let fixed = Arc::new(FixedTree::new(archive, &mounts));
        Ok(Self { fixed, private: Arc::new(Tree::new()), quota, time: None, has_mounts })
    }

    /// Sets the time that changes are given from here on, in nanoseconds since 1970; the host's if `None`.
    pub(crate) fn set_time(&mut self, time: Option<u64>) {
        self.time = time;
    }

    /// How many changes were given the host's time, so far.
    pub(crate) fn changes_at_host_time(&self) -> u64 {
        self.private.changes_at_host_time()
    }

    /// Whether there are files and directories of the host.
    pub(crate) fn has_mounts(&self) -> bool {
        self.has_mounts
    }

    /// Gives all files and directories these times.
    pub(crate) fn set_all_times(&mut self, time: u64) {
        self.private_mut().set_all_times(time);
    }

    /// The root directory.
    pub(crate) fn root(&self) -> Node {
        Node::Fixed(fixed::ROOT)
    }

    /// How many bytes of the quota are used.
    #[cfg(test)]
    pub(crate) fn used(&self) -> u64 {
        self.private.used()
    }

    /// Notes that a descriptor of `node` is closed.
    pub(crate) fn close(&mut self, node: &Node) {
        if let Node::Private(ino) = node {
            self.private_mut().release(*ino);
        }
    }

    /// The status of an open node.
    pub(crate) fn stat(&self, node: &Node) -> Result<Stat, Errno> {
        self.stat_node(node, true)
    }

    /// Reads. Returns less than the buffer holds only at the end of a file, and from a mount.
    pub(crate) fn read_at(&self, node: &Node, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        match node {
            Node::Fixed(_) => Err(Errno::IsDirectory),
            Node::Null => Ok(0),
            Node::Private(ino) => self.private.read_at(*ino, offset, buffer),
            Node::Archive(node) => self.fixed.archive.read_at(*node, offset, buffer),
            Node::Mounted(mounted) => mounted.read_at(offset, buffer),
        }
    }

    /// Writes. Writes less than `bytes` only if the quota allows no more.
    pub(crate) fn write_at(&mut self, node: &Node, offset: u64, bytes: &[u8]) -> Result<usize, Errno> {
        let quota = self.quota;
        match node {
            Node::Null => Ok(bytes.len()),
            Node::Private(ino) => self.private_mut().write_at(*ino, offset, bytes, quota),
            Node::Fixed(_) | Node::Archive(_) | Node::Mounted(_) => Err(Errno::ReadOnly),
        }
    }

    /// Truncates a file, or appends zeros to it.
    pub(crate) fn set_len(&mut self, node: &Node, len: u64) -> Result<(), Errno> {
        let quota = self.quota;
        match node {
            Node::Null => Err(Errno::Invalid),
            Node::Private(ino) => self.private_mut().set_len(*ino, len, quota),
            Node::Fixed(_) | Node::Archive(_) | Node::Mounted(_) => Err(Errno::ReadOnly),
        }
    }

    /// Makes a file at least `offset + len` bytes long.
    pub(crate) fn allocate(&mut self, node: &Node, offset: u64, len: u64) -> Result<(), Errno> {
        if len == 0 {
            return Err(Errno::Invalid);
        }
        let end = offset.checked_add(len).ok_or(Errno::FileTooBig)?;
        if end > self.stat(node)?.size { self.set_len(node, end) } else { Ok(()) }
    }

    /// Sets the times of a node.
    pub(crate) fn set_times(&mut self, node: &Node, times: NewTimes) -> Result<(), Errno> {
        match node {
            Node::Null => Ok(()),
            Node::Private(ino) => self.private_mut().set_times(*ino, times),
            Node::Fixed(_) | Node::Archive(_) | Node::Mounted(_) => Err(Errno::ReadOnly),
        }
    }

    /// The status of a node. `follow` matters only for a link in a mount.
    pub(super) fn stat_node(&self, node: &Node, follow: bool) -> Result<Stat, Errno> {
        match node {
            Node::Fixed(dir) => Ok(self.fixed.stat(*dir)),
            Node::Null => Ok(self.fixed.stat_null()),
            Node::Private(ino) => self.private.stat(*ino),
            Node::Archive(node) => self.fixed.archive.stat(*node),
            Node::Mounted(mounted) => mounted.stat(follow),
        }
    }

    /// The private part, to change it. If a clone shares it, it is copied first, except for the bytes of
    /// files.
    pub(super) fn private_mut(&mut self) -> &mut Tree {
        let tree = Arc::make_mut(&mut self.private);
        tree.set_time(self.time);
        tree
    }
}
