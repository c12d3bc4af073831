//! The private area: `/tmp` and `/work`, in memory, within a quota.

pub use self::tree::Quota;
pub(super) use self::{
    inode::Ino,
    tree::{TMP, Tree, WORK},
};

mod content;
mod inode;
mod tree;
