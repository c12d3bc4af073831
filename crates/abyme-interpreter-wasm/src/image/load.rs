//! Loads compiled code from the cache, by unsafe calls.
//!
//! # The argument
//! [`Module::deserialize_open_file`] is unsafe because the file holds machine code, which is run without
//! further checks: any user who can write the file can run anything as this user. The safe way would be to
//! compile again, which takes some seconds in every process. So before the call:
//!
//! - the file is opened once, and that very file is checked to belong to this user (or root) and to be
//!   writable by no other user, as are the two directories around it: a user who can write code into it is
//!   this user, and can run code anyway;
//! - the file is checked against the length and the checksum that were written beside it, so that a file
//!   which a full disk, a crash or a bad sector damaged is never run;
//! - wasmtime itself checks that the same version of it wrote the file, with the same settings, for the same
//!   processor.
//!
//! Where the owner of a file cannot be checked, code is never loaded, but compiled in every process.
//!
//! The file is mapped, not read, so it must not change while it is used: only this user can change it, and
//! Abyme only ever renames complete files.
//!
//! The other unsafe call locks what is mapped in memory, which changes nothing in it and ends with the
//! mapping.

#![allow(unsafe_code, reason = "the argument is above")]

use std::{
    fs::{self, File},
    hash::Hasher as _,
    io::{self, Read},
    path::Path,
};

use twox_hash::XxHash3_64;
use wasmtime::{Engine, Module};

/// Why a file of the cache is not used.
#[derive(Debug)]
pub(crate) enum LoadError {
    /// There is no file.
    Missing,
    /// It is not what was written, or of another version: it can be replaced.
    Damaged(String),
    /// Others could have written it: it must not be used, nor replaced.
    Unsafe(String),
}

/// Loads compiled code whose [`checksum`] was taken when it was written.
pub(crate) fn load(engine: &Engine, path: &Path, length: u64, sum: u64) -> Result<Module, LoadError> {
    check_owner(path)?;
    let damaged = |error: &dyn std::fmt::Display| LoadError::Damaged(format!("{}: {error}", path.display()));
    // Opened once, so that the file that is checked is the file that is mapped, whatever happens to the path.
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if is_missing(&error) => return Err(LoadError::Missing),
        Err(error) => return Err(damaged(&error)),
    };
    check_one(path, &file.metadata().map_err(|error| damaged(&error))?)?;
    if checksum(&mut file).map_err(|error| damaged(&error))? != (length, sum) {
        return Err(damaged(&"it is not what was written"));
    }
    // SAFETY: see the top of this file.
    let module = unsafe { Module::deserialize_open_file(engine, file) };
    let module = module.map_err(|error| damaged(&format!("{error:#}")))?;
    lock(&module);
    Ok(module)
}

/// Keeps the mapped file in memory, if this process may lock as much. Otherwise the system takes back what no
/// session used for a while, and the next ones wait for the disk.
#[cfg(target_os = "linux")]
fn lock(module: &Module) {
    let mapped = module.image_range();
    let length = mapped.end as usize - mapped.start as usize;
    // SAFETY: the module keeps the range mapped; see the top of this file.
    let _ = unsafe { rustix::mm::mlock(mapped.start.cast_mut().cast(), length) };
}

#[cfg(not(target_os = "linux"))]
fn lock(_: &Module) {}

/// The length and checksum of the rest of a file. The checksum finds accidents; the check of the owner keeps
/// attackers out.
pub(crate) fn checksum(file: &mut File) -> io::Result<(u64, u64)> {
    let (mut hasher, mut length) = (XxHash3_64::new(), 0);
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((length, hasher.finish())),
            count => {
                hasher.write(&buffer[..count]);
                length += count as u64;
            }
        }
    }
}

/// Whether the error says that a path does not exist.
pub(crate) fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Whether a file and the two directories around it belong to this user and can be written by no other.
fn check_owner(file: &Path) -> Result<(), LoadError> {
    for path in file.ancestors().take(3) {
        let status = match fs::metadata(path) {
            Ok(status) => status,
            Err(error) if is_missing(&error) => return Err(LoadError::Missing),
            Err(error) => return Err(LoadError::Damaged(format!("{}: {error}", path.display()))),
        };
        check_one(path, &status)?;
    }
    Ok(())
}

#[cfg(unix)]
fn check_one(path: &Path, status: &fs::Metadata) -> Result<(), LoadError> {
    use std::os::unix::fs::MetadataExt;

    let user = rustix::process::geteuid().as_raw();
    if status.uid() != user && status.uid() != 0 {
        let owner = status.uid();
        return Err(LoadError::Unsafe(format!("{} belongs to user {owner}, not to {user}", path.display())));
    }
    if status.mode() & 0o022 != 0 {
        return Err(LoadError::Unsafe(format!(
            "{} can be written by other users (chmod go-w)",
            path.display()
        )));
    }
    Ok(())
}

/// The condition of the unsafe call cannot be checked without the owner and the mode of a file.
#[cfg(not(unix))]
fn check_one(path: &Path, _: &fs::Metadata) -> Result<(), LoadError> {
    Err(LoadError::Unsafe(format!("nothing tells who could have written {}", path.display())))
}
