//! How preview 1 writes down what a file is, and the bits of its flags.

use super::memory::GuestMemory;
use crate::fs::{Errno, Kind, NewTimes, Stat};

/// Flags of a descriptor.
pub(super) mod fd_flag {
    pub(in crate::wasi) const APPEND: u16 = 1;
    /// All there are; the others make no difference here.
    pub(in crate::wasi) const ALL: u16 = 0x1f;
}

/// How to open.
pub(super) mod open_flag {
    pub(in crate::wasi) const CREATE: u32 = 1;
    pub(in crate::wasi) const DIRECTORY: u32 = 2;
    pub(in crate::wasi) const EXCLUSIVE: u32 = 4;
    pub(in crate::wasi) const TRUNCATE: u32 = 8;
}

/// How to walk a path: a link at its end is followed.
pub(super) const FOLLOW: u32 = 1;

/// What a descriptor is open for. Libc derives from them what a descriptor is, so they have to make sense.
pub(super) mod right {
    pub(in crate::wasi) const READ: u64 = 1 << 1;
    pub(in crate::wasi) const SEEK: u64 = 1 << 2;
    pub(in crate::wasi) const TELL: u64 = 1 << 5;
    pub(in crate::wasi) const WRITE: u64 = 1 << 6;
    pub(in crate::wasi) const ALLOCATE: u64 = 1 << 8;
    pub(in crate::wasi) const READ_DIRECTORY: u64 = 1 << 14;
    pub(in crate::wasi) const SET_SIZE: u64 = 1 << 22;
    /// Those that come with every file: to synchronise, advise, set flags, look, set times, poll.
    pub(in crate::wasi) const ANY_FILE: u64 = 1 << 0 | 1 << 3 | 1 << 4 | 1 << 7 | 1 << 21 | 1 << 23 | 1 << 27;
    /// Those of directories: everything by path, to list, look, set times.
    pub(in crate::wasi) const DIRECTORY: u64 =
        0x7ff << 9 | 1 << 20 | 1 << 21 | 1 << 23 | 0x7 << 24 | 1 << 3 | 1 << 4;
    /// All but sockets.
    pub(in crate::wasi) const ALL: u64 = (1 << 28) - 1;
}

/// Writes a `filestat`.
pub(super) fn put_stat(memory: &mut GuestMemory<'_>, address: u32, stat: &Stat) -> Result<(), Errno> {
    let mut bytes = [0; 64];
    let fields = [
        (0, stat.device),
        (8, stat.ino),
        (16, u64::from(file_type(stat.kind))),
        (24, stat.links),
        (32, stat.size),
        (40, stat.accessed),
        (48, stat.modified),
        (56, stat.changed),
    ];
    for (at, field) in fields {
        bytes[at..at + 8].copy_from_slice(&field.to_le_bytes());
    }
    memory.put(address, &bytes)
}

/// The number of a kind of file.
pub(super) fn file_type(kind: Kind) -> u8 {
    match kind {
        Kind::Unknown => 0,
        Kind::CharacterDevice => 2,
        Kind::Directory => 3,
        Kind::File => 4,
        Kind::Symlink => 7,
    }
}

/// The times that a call asks for, out of its two times and the bits that say which of them count.
pub(super) fn new_times(accessed: u64, modified: u64, which: u32, now: u64) -> Result<NewTimes, Errno> {
    let time = |given: u64, bits: u32| match bits & 3 {
        0 => Ok(None),
        1 => Ok(Some(given)),
        2 => Ok(Some(now)),
        _ => Err(Errno::Invalid),
    };
    Ok(NewTimes { accessed: time(accessed, which)?, modified: time(modified, which >> 2)? })
}
