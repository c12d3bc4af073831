//! The memory of a session: which pages it wrote to, and its state as a checkpoint and as a snapshot.

pub(crate) mod checkpoint;
pub(crate) mod frozen;
pub(crate) mod page;
pub(crate) mod snapshot;
pub(crate) mod watch;
