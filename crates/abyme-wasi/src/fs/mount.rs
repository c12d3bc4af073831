//! Files and directories of the host that guests can read.

pub use self::source::Mount;
pub(super) use self::{node::MountNode, source::OpenMount};

mod node;
mod source;
