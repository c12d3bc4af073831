//! The numbers, flags and structures of preview 1.

use super::memory::GuestMemory;
use crate::fs::{Errno, Kind, NewTimes, Stat};

/// Flags of a descriptor.
pub(super) mod fd_flag {
    use crate::fs::Errno;

    pub(in crate::preview1) const APPEND: u16 = 1;
    /// All flags. Those besides `APPEND` have no effect here.
    const ALL: u16 = 0x1f;

    /// Fails if a bit is not a flag.
    pub(in crate::preview1) fn parse(flags: u32) -> Result<u16, Errno> {
        u16::try_from(flags).ok().filter(|flags| flags & !ALL == 0).ok_or(Errno::Invalid)
    }
}

/// Flags of `path_open`.
pub(super) mod open_flag {
    pub(in crate::preview1) const CREATE: u32 = 1;
    pub(in crate::preview1) const DIRECTORY: u32 = 2;
    pub(in crate::preview1) const EXCLUSIVE: u32 = 4;
    pub(in crate::preview1) const TRUNCATE: u32 = 8;
}

/// The flag of a path lookup that follows a link at the end of the path.
pub(super) const FOLLOW: u32 = 1;

/// The rights of a descriptor. Libc derives the type of a descriptor from them.
pub(super) mod right {
    pub(in crate::preview1) const READ: u64 = 1 << 1;
    pub(in crate::preview1) const SEEK: u64 = 1 << 2;
    pub(in crate::preview1) const TELL: u64 = 1 << 5;
    pub(in crate::preview1) const WRITE: u64 = 1 << 6;
    pub(in crate::preview1) const ALLOCATE: u64 = 1 << 8;
    pub(in crate::preview1) const READ_DIRECTORY: u64 = 1 << 14;
    pub(in crate::preview1) const SET_SIZE: u64 = 1 << 22;
    /// The rights on every file: to synchronise, advise, set flags, stat, set times, poll.
    pub(in crate::preview1) const ANY_FILE: u64 =
        1 << 0 | 1 << 3 | 1 << 4 | 1 << 7 | 1 << 21 | 1 << 23 | 1 << 27;
    /// The rights on a directory: all operations by path, to list, stat, set times.
    pub(in crate::preview1) const DIRECTORY: u64 =
        0x7ff << 9 | 1 << 20 | 1 << 21 | 1 << 23 | 0x7 << 24 | 1 << 3 | 1 << 4;
    /// All rights but those on sockets.
    pub(in crate::preview1) const ALL: u64 = (1 << 28) - 1;
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

/// The times that a call sets. Two bits of `which` for each say whether it keeps, sets or updates the time.
pub(super) fn new_times(accessed: u64, modified: u64, which: u32, now: u64) -> Result<NewTimes, Errno> {
    let time = |given: u64, bits: u32| match bits & 3 {
        0 => Ok(None),
        1 => Ok(Some(given)),
        2 => Ok(Some(now)),
        _ => Err(Errno::Invalid),
    };
    Ok(NewTimes { accessed: time(accessed, which)?, modified: time(modified, which >> 2)? })
}
