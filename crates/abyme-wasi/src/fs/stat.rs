//! What a guest can learn about a file: its kind, its status, its entry in a listing.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

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

/// The result of `stat`.
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

/// The times to set on a node.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NewTimes {
    /// Nanoseconds since 1970; `None` keeps the old one.
    pub(crate) accessed: Option<u64>,
    /// Nanoseconds since 1970; `None` keeps the old one.
    pub(crate) modified: Option<u64>,
}

/// One entry of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DirEntry<'a> {
    /// The cookie that continues the listing after this entry.
    pub(crate) next: u64,
    pub(crate) ino: u64,
    pub(crate) kind: Kind,
    pub(crate) name: &'a str,
}

impl Stat {
    /// The status of a node that never changes.
    pub(crate) fn constant(device: u64, ino: u64, kind: Kind, size: u64, modified: u64) -> Self {
        Self { device, ino, kind, links: 1, size, accessed: modified, modified, changed: modified }
    }
}

/// The present time in nanoseconds since 1970.
pub(crate) fn now() -> u64 {
    nanoseconds_since_1970(SystemTime::now())
}

/// A time in nanoseconds since 1970, clamped to what a `u64` can hold.
pub(crate) fn nanoseconds_since_1970(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, nanoseconds)
}

/// A duration in nanoseconds, clamped to what a `u64` can hold.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
