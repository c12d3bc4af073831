//! Empties a directory in which code did as it liked.
//!
//! That may be nested thousands of levels deep, where recursion would overflow the stack and run out of
//! descriptors, and have directories that not even their owner may read. So nothing here recurses: what is
//! deep is moved up first. A few descriptors are open at a time.

use std::{io, os::fd::OwnedFd, path::Path};

use rustix::{
    ffi::CStr,
    fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, renameat, unlinkat},
    io::{Errno, Result},
};

/// More levels than this are left: a process that outlived its session may go on making directories.
const MAX_LEVELS: usize = 100_000;

/// Removes all that is in a directory. The directory stays.
///
/// # Errors
/// Those of the system, and that it is nested too deep. What could be removed until then is.
pub(crate) fn empty(dir: &Path) -> io::Result<()> {
    let root = open_dir(rustix::fs::CWD, dir)?;
    let mut moved = 0_u64;
    // Each pass removes one level of all that is there.
    for _ in 0..MAX_LEVELS {
        if !remove_level(&root, &mut moved)? {
            return Ok(());
        }
    }
    Err(io::Error::other("directories are nested too deep, or something goes on making them"))
}

/// Removes the files in `root`, and each directory in it but for what is in that two levels down, which it
/// moves up. Whether there was a directory.
fn remove_level(root: &OwnedFd, moved: &mut u64) -> Result<bool> {
    let mut had_dirs = false;
    for entry in Dir::read_from(root)? {
        let entry = entry?;
        if is_removed(root, entry.file_name(), entry.file_type())? {
            continue;
        }
        had_dirs = true;
        let dir = open_dir(root, entry.file_name())?;
        for inner in Dir::read_from(&dir)? {
            let inner = inner?;
            if !is_removed(&dir, inner.file_name(), inner.file_type())? {
                // A directory can be moved only by a process that may write to it.
                drop(open_dir(&dir, inner.file_name())?);
                move_up(&dir, inner.file_name(), root, moved)?;
            }
        }
        match unlinkat(root, entry.file_name(), AtFlags::REMOVEDIR) {
            // Some systems leave entries out while a directory changes. The next pass finds them.
            Ok(()) | Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(had_dirs)
}

/// Removes an entry if it is no directory; whether it is gone, or is not to be looked at.
fn is_removed(dir: &OwnedFd, name: &CStr, kind: FileType) -> Result<bool> {
    if name == c"." || name == c".." {
        return Ok(true);
    }
    if kind == FileType::Directory {
        return Ok(false);
    }
    match unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::ISDIR | Errno::PERM) if kind == FileType::Unknown => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Moves a directory to `root`, under a name that nothing has there.
fn move_up(dir: &OwnedFd, name: &CStr, root: &OwnedFd, moved: &mut u64) -> Result<()> {
    loop {
        *moved += 1;
        match renameat(dir, name, root, format!("moved-{moved}")) {
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
            result => return result,
        }
    }
}

/// Opens a directory, no link to one, and has its owner be allowed to read and change it.
fn open_dir(at: impl std::os::fd::AsFd, name: impl rustix::path::Arg + Copy) -> Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let owner = Mode::RWXU;
    let dir = match openat(&at, name, flags | OFlags::RDONLY, Mode::empty()) {
        Err(Errno::ACCESS) => {
            make_readable(&at, name, flags, owner)?;
            openat(&at, name, flags | OFlags::RDONLY, Mode::empty())?
        }
        opened => opened?,
    };
    rustix::fs::fchmod(&dir, owner)?;
    Ok(dir)
}

#[cfg(target_os = "linux")]
fn make_readable(
    at: impl std::os::fd::AsFd,
    name: impl rustix::path::Arg,
    flags: OFlags,
    mode: Mode,
) -> Result<()> {
    use std::os::fd::AsRawFd;

    // What is opened so is the directory itself, whatever takes its name by now.
    let dir = openat(at, name, flags | OFlags::PATH, Mode::empty())?;
    rustix::fs::chmod(format!("/proc/self/fd/{}", dir.as_raw_fd()), mode)
}

#[cfg(not(target_os = "linux"))]
fn make_readable(
    at: impl std::os::fd::AsFd,
    name: impl rustix::path::Arg,
    _flags: OFlags,
    mode: Mode,
) -> Result<()> {
    rustix::fs::chmodat(at, name, mode, AtFlags::SYMLINK_NOFOLLOW)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::{PermissionsExt, symlink},
    };

    use super::*;

    #[test]
    fn everything_goes_and_nothing_outside() {
        let temp = tempfile::tempdir().unwrap();
        let (inside, outside) = (temp.path().join("inside"), temp.path().join("outside"));
        fs::create_dir_all(inside.join("a/b/c")).unwrap();
        fs::create_dir_all(inside.join("moved-1/moved-2/moved-3")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "").unwrap();
        fs::write(inside.join("moved-3"), "").unwrap();
        for (number, dir) in ["a", "a/b", "a/b/c", "moved-1"].into_iter().enumerate() {
            fs::write(inside.join(dir).join("file"), "").unwrap();
            symlink(&outside, inside.join(dir).join("link")).unwrap();
            for more in 0..200 {
                fs::create_dir(inside.join(dir).join(format!("{number}-{more}"))).unwrap();
            }
        }
        symlink("nowhere", inside.join("dangling")).unwrap();
        for dir in ["a/b/c", "a/b", "a"] {
            fs::set_permissions(inside.join(dir), Permissions::from_mode(0o000)).unwrap();
        }
        empty(&inside).unwrap();
        assert_eq!(fs::read_dir(&inside).unwrap().count(), 0);
        assert!(outside.join("kept").exists());
        assert!(empty(&temp.path().join("not there")).is_err());
    }

    #[test]
    fn depth_costs_neither_stack_nor_descriptors() {
        // In memory: some disks take milliseconds for each directory.
        let temp = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let mut at = open_dir(rustix::fs::CWD, temp.path()).unwrap();
        for _ in 0..30_000 {
            rustix::fs::mkdirat(&at, "deeper", Mode::RWXU).unwrap();
            at = openat(&at, "deeper", OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty()).unwrap();
        }
        let path = temp.path().to_owned();
        // Less than what the thread of a session's end has.
        let small = std::thread::Builder::new().stack_size(64 << 10);
        small.spawn(move || empty(&path)).unwrap().join().unwrap().unwrap();
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
    }
}
