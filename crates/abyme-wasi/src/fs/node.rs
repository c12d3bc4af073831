//! A file or directory, whichever part of the tree it is in.

use std::sync::Arc;

use super::{mount::MountNode, private::Ino};

/// A file or directory of a [`FileSystem`](super::FileSystem).
#[derive(Clone, Debug)]
pub(crate) enum Node {
    /// A directory that only exists to hold others: `/`, `/lib`, the directories above a mount.
    Fixed(usize),
    /// `/dev/null`.
    Null,
    /// In the private area.
    Private(Ino),
    /// In the archive.
    Archive(usize),
    /// In a mount.
    Mounted(Arc<MountNode>),
}
