//! A private file system in memory: what a guest sees as its files.
//!
//! `/tmp` and `/work` can be written, within a quota; an archive is below `/lib`;
//! `/dev/null` is there; and of the host, exactly what was mounted, read-only. Everything dies with the session. A clone
//! costs next to nothing: it shares all bytes until one side writes, which is how checkpoints and forks come to be.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::{archive::Archive, mount::Mount};
pub(crate) use self::{
    errno::Errno,
    node::{DirEntry, Kind, Node, Stat},
    open::OpenOptions,
    path::MAX_PATH,
    tree::NewTimes,
};
use self::{
    inode::Ino,
    layout::{Layout, TOP},
    mount::OpenMount,
    tree::Tree,
};

mod archive;
mod content;
mod errno;
mod inode;
mod layout;
mod mount;
mod node;
mod open;
mod path;
mod paths;
#[cfg(test)]
mod tests;
mod tree;
mod walk;

/// How much a guest may keep in its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Bytes of all files together.
    pub max_bytes: u64,
    /// Files and directories: an empty one takes memory too.
    pub max_inodes: usize,
}

impl Default for Quota {
    fn default() -> Self {
        Self { max_bytes: 256 << 20, max_inodes: 100_000 }
    }
}

/// The files of one session.
#[derive(Clone, Debug)]
pub struct FileSystem {
    layout: Arc<Layout>,
    tree: Arc<Tree>,
    quota: Quota,
}

/// The private part of a file system at one moment. The archive and the mounts are not in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Tree")]
pub(crate) struct Saved(Arc<Tree>);

/// A node of an open descriptor in a form that outlives the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reference {
    /// In the private area, where it may have been removed from its directory.
    Private(Ino),
    /// Anywhere else.
    Path(String),
}

impl FileSystem {
    /// Creates a file system that holds nothing but the archive and the mounts. The mounts are opened now, once for all
    /// clones.
    ///
    /// # Errors
    /// A sentence that lists all that is wrong with the mounts.
    pub fn new(quota: Quota, archive: Arc<Archive>, mounts: &[Mount]) -> Result<Self, String> {
        let mounts = OpenMount::open_all(mounts)?;
        Ok(Self { layout: Arc::new(Layout::new(archive, &mounts)), tree: Arc::new(Tree::new()), quota })
    }

    /// The root directory.
    pub(crate) fn root(&self) -> Node {
        Node::Fixed(TOP)
    }

    /// How many bytes of the quota are used.
    #[cfg(test)]
    pub(crate) fn used(&self) -> u64 {
        self.tree.used()
    }

    /// What the private part holds now.
    pub(crate) fn save(&self) -> Saved {
        Saved(self.tree.clone())
    }

    /// Brings back what was saved. `open` are the descriptors that were open then; the answer is their nodes, `None`
    /// where there is nothing any more. What was removed and is not open is gone.
    pub(crate) fn restore(&mut self, saved: &Saved, open: &[Reference]) -> Vec<Option<Node>> {
        self.tree = saved.0.clone();
        // Looked at before it is touched, for to touch a shared tree is to copy it.
        if self.tree.has_descriptors() {
            self.tree_mut().forget_descriptors();
        }
        let nodes = open.iter().map(|reference| self.reopen(reference)).collect();
        if self.tree.has_removed() {
            self.tree_mut().collect_all();
        }
        nodes
    }

    /// How to find an open node again.
    pub(crate) fn reference(&self, node: &Node) -> Reference {
        match node {
            Node::Private(ino) => Reference::Private(*ino),
            Node::Fixed(dir) => Reference::Path(self.layout.path(*dir)),
            Node::Null => Reference::Path("/dev/null".into()),
            Node::Archive(node) => Reference::Path(self.archive_path(*node)),
            Node::Mounted(mounted) => Reference::Path(mounted.guest_path()),
        }
    }

    /// Notes that a descriptor on `node` is closed.
    pub(crate) fn close(&mut self, node: &Node) {
        if let Node::Private(ino) = node {
            self.tree_mut().release(*ino);
        }
    }

    /// What an open node is.
    pub(crate) fn stat(&self, node: &Node) -> Result<Stat, Errno> {
        self.stat_node(node, true)
    }

    /// Reads; less than asked for only at the end of a file, and from a mount.
    pub(crate) fn read_at(&self, node: &Node, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        match node {
            Node::Fixed(_) => Err(Errno::IsDirectory),
            Node::Null => Ok(0),
            Node::Private(ino) => self.tree.read_at(*ino, offset, buffer),
            Node::Archive(node) => self.layout.archive.read_at(*node, offset, buffer),
            Node::Mounted(mounted) => mounted.read_at(offset, buffer),
        }
    }

    /// Writes; less than asked for when the quota allows no more.
    pub(crate) fn write_at(&mut self, node: &Node, offset: u64, bytes: &[u8]) -> Result<usize, Errno> {
        let quota = self.quota;
        match node {
            Node::Null => Ok(bytes.len()),
            Node::Private(ino) => self.tree_mut().write_at(*ino, offset, bytes, quota),
            Node::Fixed(_) | Node::Archive(_) | Node::Mounted(_) => Err(Errno::ReadOnly),
        }
    }

    /// Cuts a file off, or adds zeros.
    pub(crate) fn set_len(&mut self, node: &Node, len: u64) -> Result<(), Errno> {
        let quota = self.quota;
        match node {
            Node::Null => Err(Errno::Invalid),
            Node::Private(ino) => self.tree_mut().set_len(*ino, len, quota),
            Node::Fixed(_) | Node::Archive(_) | Node::Mounted(_) => Err(Errno::ReadOnly),
        }
    }

    /// Makes a file at least `offset + len` long.
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
            Node::Private(ino) => self.tree_mut().set_times(*ino, times),
            Node::Fixed(_) | Node::Archive(_) | Node::Mounted(_) => Err(Errno::ReadOnly),
        }
    }

    /// Lists a directory, `.` and `..` first, from `cookie` on (0, or where an entry said to go on), until `each` says
    /// `false`. Entries that come or go meanwhile make no other one appear twice or not at all.
    pub(crate) fn list(
        &self,
        dir: &Node,
        cookie: u64,
        each: &mut dyn FnMut(DirEntry<'_>) -> bool,
    ) -> Result<(), Errno> {
        let stat = self.stat(dir)?;
        if stat.kind != Kind::Directory {
            return Err(Errno::NotDirectory);
        }
        let dot = DirEntry { next: 1, ino: stat.ino, kind: Kind::Directory, name: "." };
        if cookie == 0 && !each(dot) {
            return Ok(());
        }
        if cookie <= 1 {
            let ino = self.above(dir).and_then(|above| self.stat(&above)).map_or(stat.ino, |above| above.ino);
            if !each(DirEntry { next: 2, ino, kind: Kind::Directory, name: ".." }) {
                return Ok(());
            }
        }
        self.list_entries(dir, cookie.saturating_sub(2), each)
    }

    /// `after` counts from the first entry that is neither `.` nor `..`.
    fn list_entries(
        &self,
        dir: &Node,
        after: u64,
        each: &mut dyn FnMut(DirEntry<'_>) -> bool,
    ) -> Result<(), Errno> {
        let start = usize::try_from(after).unwrap_or(usize::MAX);
        match dir {
            Node::Private(ino) => {
                for (child, name, inode) in self.tree.list(*ino, after)? {
                    if !each(DirEntry { next: child.0 + 2, ino: child.0, kind: inode.kind(), name }) {
                        break;
                    }
                }
            }
            Node::Archive(node) => {
                for (index, (child, name, kind)) in self.layout.archive.list(*node)?.enumerate().skip(start) {
                    if !each(DirEntry { next: index as u64 + 3, ino: child as u64 + 1, kind, name }) {
                        break;
                    }
                }
            }
            Node::Fixed(fixed) => {
                for (index, (name, node)) in self.layout.list(*fixed).enumerate().skip(start) {
                    let (ino, kind) =
                        self.stat(node).map_or((0, Kind::Unknown), |stat| (stat.ino, stat.kind));
                    if !each(DirEntry { next: index as u64 + 3, ino, kind, name }) {
                        break;
                    }
                }
            }
            Node::Mounted(mounted) => {
                mounted.list(after, &mut |entry| each(DirEntry { next: entry.next + 2, ..entry }))?;
            }
            Node::Null => return Err(Errno::NotDirectory),
        }
        Ok(())
    }

    fn reopen(&mut self, reference: &Reference) -> Option<Node> {
        match reference {
            Reference::Private(ino) => {
                self.tree_mut().retain(*ino).ok()?;
                Some(Node::Private(*ino))
            }
            // Not looked at: a mount that lost the file says so when it is read.
            Reference::Path(path) => self.walk(&self.root(), &path::GuestPath::parse(path).ok()?).ok(),
        }
    }

    /// To change the private part: if a copy shares it, all but the bytes of files is copied first.
    fn tree_mut(&mut self) -> &mut Tree {
        Arc::make_mut(&mut self.tree)
    }
}

impl TryFrom<Tree> for Saved {
    type Error = String;

    /// Takes a tree that was read from somewhere.
    fn try_from(mut tree: Tree) -> Result<Self, String> {
        tree.check().map_err(|reason| format!("the saved files are damaged: {reason}"))?;
        Ok(Self(Arc::new(tree)))
    }
}
