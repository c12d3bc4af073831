//! System calls for a child between fork and exec that rustix does not have, or leaves to its caller to argue
//! for. None of them allocates or takes a lock.
//!
//! Of this crate only this file, `init.rs` and `command.rs` are unsafe.
#![allow(unsafe_code, reason = "these are system calls; each says why it is sound")]

use std::{
    ffi::CStr,
    os::fd::{AsRawFd, BorrowedFd},
    ptr::null,
    time::Duration,
};

use rustix::{
    io::{Errno, Result},
    thread::UnshareFlags,
};

/// How often a mount that is busy is tried again, and what is waited in between.
const BUSY_TRIES: u32 = 100;
const BUSY_PAUSE: Duration = Duration::from_millis(1);

/// `unshare(2)`.
pub(crate) fn unshare(flags: UnshareFlags) -> Result<()> {
    // SAFETY: what makes this unsafe is `FILES`, which no caller passes: no descriptor changes its owner.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// Starts a process that is a copy of this one and a child of this one's parent. `None` in the copy.
///
/// For a child between fork and exec only: it has one thread and goes on making such calls alone.
pub(crate) fn fork_sibling() -> Result<Option<i32>> {
    let flags = libc::CLONE_PARENT | libc::SIGCHLD;
    // SAFETY: without CLONE_VM the new process has memory of its own, and goes on with a copy of this stack.
    // The C library's own records of the thread (its id) are wrong in it; nothing that runs before exec or
    // `_exit` looks at them.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0_usize, 0_usize, 0_usize, 0_usize) };
    match i32::try_from(pid).unwrap_or(-1) {
        -1 => Err(last_error()),
        0 => Ok(None),
        pid => Ok(Some(pid)),
    }
}

/// Ends this process, without anything of the program's being run.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: `_exit` may be called at any time.
    unsafe { libc::_exit(code) }
}

/// Becomes another program, without arguments and environment. Returns only an error.
pub(crate) fn exec(path: &CStr) -> Errno {
    let (arguments, environment) = ([path.as_ptr(), null()], [null()]);
    // SAFETY: the path is a C string, and both arrays end with a null pointer.
    unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    last_error()
}

/// Has the kernel reap the children of this process, also of the program that it becomes.
pub(crate) fn ignore_children() {
    // SAFETY: SIG_IGN is no function of this program.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Marks all descriptors from `first` on to be closed by exec.
pub(crate) fn close_on_exec_from(first: i32) -> Result<()> {
    const MANY: i32 = 1 << 16;
    // SAFETY: descriptors stay open and keep their owners; only a flag of theirs changes.
    let done =
        check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) });
    match done {
        // Linux before 5.11.
        Err(Errno::NOSYS | Errno::INVAL) => {
            for descriptor in first..MANY {
                // SAFETY: as above. It fails for numbers that are no descriptors.
                unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
            }
            Ok(())
        }
        done => done,
    }
}

/// Adds attributes (`MOUNT_ATTR_*`) to a mount, and to all below it if it is `recursive`.
///
/// A mount that is being written to cannot become read-only. Of a new one that is over in a moment.
pub(crate) fn restrict_mount(path: &CStr, attributes: u64, recursive: bool) -> Result<()> {
    let mut pauses = 0..BUSY_TRIES;
    loop {
        match try_restrict_mount(path, attributes, recursive) {
            Err(Errno::BUSY) if pauses.next().is_some() => std::thread::sleep(BUSY_PAUSE),
            done => return done,
        }
    }
}

fn try_restrict_mount(path: &CStr, attributes: u64, recursive: bool) -> Result<()> {
    let attributes = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the kernel reads a C string, and as many bytes of the structure as it has.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    })
}

/// The version of Landlock that the kernel has.
pub(crate) fn landlock_version() -> Result<i32> {
    const VERSION: u32 = 1;
    // SAFETY: with this flag the kernel takes no structure.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, null::<u8>(), 0_usize, VERSION) };
    check(version)?;
    i32::try_from(version).map_err(|_| Errno::RANGE)
}

/// Allows `access` to all below the directory `dir`.
pub(crate) fn landlock_allow(ruleset: BorrowedFd<'_>, dir: BorrowedFd<'_>, access: u64) -> Result<()> {
    const PATH_BENEATH: i32 = 1;
    #[repr(C, packed)]
    struct PathBeneath {
        allowed_access: u64,
        parent_fd: i32,
    }
    let rule = PathBeneath { allowed_access: access, parent_fd: dir.as_raw_fd() };
    // SAFETY: the kernel reads a structure of this layout (landlock.h).
    check(unsafe {
        libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), PATH_BENEATH, &raw const rule, 0_u32)
    })
}

/// Applies a ruleset to this process for good.
pub(crate) fn landlock_restrict(ruleset: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: the kernel reads numbers alone.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0_u32) })
}

fn check(result: libc::c_long) -> Result<()> {
    if result < 0 { Err(last_error()) } else { Ok(()) }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
