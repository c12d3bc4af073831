//! Short files that a child writes between fork and exec.

use std::ffi::CStr;

use rustix::{
    fs::{Mode, OFlags},
    io::{Errno, Result},
};

/// Writes a file that is there.
pub(crate) fn write(path: &CStr, content: &[u8]) -> Result<()> {
    write_to(path, content, OFlags::empty(), 0)
}

/// Makes a file of this mode.
pub(crate) fn make_file(path: &CStr, content: &[u8], mode: u32) -> Result<()> {
    write_to(path, content, OFlags::CREATE, mode)
}

fn write_to(path: &CStr, content: &[u8], flags: OFlags, mode: u32) -> Result<()> {
    let flags = flags | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::from_bits_retain(mode))?;
    match rustix::io::write(&file, content)? {
        written if written == content.len() => Ok(()),
        _ => Err(Errno::IO),
    }
}
