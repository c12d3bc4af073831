//! The files of a guest, in memory.
//!
//! The tree has five parts: fixed directories, `/dev/null`, the private area (`/tmp` and `/work`, which can
//! be written within a quota), an archive below `/lib`, and mounts of the host, which are read-only. A clone
//! shares all bytes with the original until one of them writes, so checkpoints and forks are cheap.

pub use self::{archive::Archive, file_system::FileSystem, mount::Mount, private::Quota};
pub(crate) use self::{
    by_path::OpenOptions,
    checkpoint::{FilesCheckpoint, NodeReference},
    errno::Errno,
    node::Node,
    path::MAX_PATH,
    stat::{Kind, NewTimes, Stat, nanoseconds, now},
};

mod archive;
mod by_path;
mod checkpoint;
mod errno;
mod file_system;
mod fixed;
mod mount;
mod node;
mod path;
mod private;
mod stat;
#[cfg(test)]
mod tests;
mod walk;
