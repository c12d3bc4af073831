//! A place in the tree, whatever stands behind it, and what can be known of it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{inode::Ino, mount::Mounted};

/// A file or directory of a [`FileSystem`](super::FileSystem).
#[derive(Clone, Debug)]
pub(crate) enum Node {
    /// A directory that only exists to hold others: `/`, `/lib`, what is above a mount.
    Fixed(usize),
    /// `/dev/null`.
    Null,
    /// In the private area.
    Private(Ino),
    /// In the archive.
    Archive(usize),
    /// In a mount.
    Mounted(Arc<Mounted>),
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    CharacterDevice,
    Directory,
    File,
    /// Only in mounts.
    Symlink,
    /// A pipe, socket or device of a mount. It can be seen, not opened.
    Unknown,
}

/// What `stat` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) device: u64,
    pub(crate) ino: u64,
    pub(crate) kind: Kind,
    pub(crate) links: u64,
    pub(crate) size: u64,
    /// Nanoseconds since 1970, as the next two.
    pub(crate) accessed: u64,
    pub(crate) modified: u64,
    pub(crate) changed: u64,
}

impl Stat {
    /// That of a part of the tree that never changes.
    pub(super) fn constant(device: u64, ino: u64, kind: Kind, size: u64, modified: u64) -> Self {
        Self { device, ino, kind, links: 1, size, accessed: modified, modified, changed: modified }
    }
}

/// One entry of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DirEntry<'a> {
    /// Where the listing goes on after this entry.
    pub(crate) next: u64,
    pub(crate) ino: u64,
    pub(crate) kind: Kind,
    pub(crate) name: &'a str,
}
