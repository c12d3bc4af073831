//! The errors of the file system, as the error numbers of WASI preview 1.

use std::io;

/// An error number of `wasi_snapshot_preview1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Errno {
    /// Permission denied.
    Access = 2,
    /// Not an open descriptor, or not open for this operation.
    BadFile = 8,
    /// In use, as a directory that holds a mount.
    Busy = 10,
    /// Exists already.
    Exists = 20,
    /// A bad address.
    Fault = 21,
    /// A file would become too large.
    FileTooBig = 22,
    /// Not UTF-8.
    IllegalSequence = 25,
    /// Invalid argument.
    Invalid = 28,
    /// The host could not read.
    Io = 29,
    /// Is a directory.
    IsDirectory = 31,
    /// A symbolic link where none may be followed.
    Loop = 32,
    /// Too many open descriptors.
    TooManyFiles = 33,
    /// A name or a path is too long, or a tree too deep.
    NameTooLong = 37,
    /// No such file or directory.
    NotFound = 44,
    /// The quota is used up.
    NoSpace = 51,
    /// No such function.
    NoSystemCall = 52,
    /// Not a directory.
    NotDirectory = 54,
    /// A directory that is not empty.
    NotEmpty = 55,
    /// Not a socket.
    NotSocket = 57,
    /// Not supported.
    NotSupported = 58,
    /// Not permitted.
    NotPermitted = 63,
    /// Read-only.
    ReadOnly = 69,
    /// Not seekable.
    NotSeekable = 70,
    /// From one file system to another.
    CrossDevice = 75,
}

impl From<io::Error> for Errno {
    /// Maps an error of the host. One without a counterpart is [`Errno::Io`], which tells no details of the
    /// host.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            io::ErrorKind::PermissionDenied => Self::Access,
            io::ErrorKind::NotADirectory => Self::NotDirectory,
            io::ErrorKind::IsADirectory => Self::IsDirectory,
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => Self::Invalid,
            io::ErrorKind::InvalidFilename => Self::NameTooLong,
            io::ErrorKind::Unsupported => Self::NotSupported,
            _ => Self::Io,
        }
    }
}
