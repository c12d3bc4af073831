//! Namespaces of a session's own: users, network, messages, host name, mounts, processes.
//!
//! A process enters a pid namespace only by being born into it, so the child that enters the others has two
//! children: the first process of the pid namespace, and Python. Both are made children of the host
//! (`CLONE_PARENT`), which signals them and waits for them as for any other child. The one between ends.

use std::ffi::{CStr, CString};

use rustix::{
    fs::{Mode, OFlags},
    io::{Errno, Result},
    thread::UnshareFlags,
};

use super::syscall;

/// The id of the session's user and group inside. It is not that of root, so that Python starts without the
/// capabilities that its user has over the namespaces.
pub(crate) const INNER_ID: u32 = 1000;

/// The user of the host that the session's user stands for.
#[derive(Clone, Debug)]
pub(crate) struct IdMaps {
    uids: CString,
    gids: CString,
}

impl IdMaps {
    /// Those of the current user.
    pub(crate) fn of_this_user() -> Self {
        let map = |id: u32| CString::new(format!("{INNER_ID} {id} 1")).unwrap_or_default();
        Self {
            uids: map(rustix::process::geteuid().as_raw()),
            gids: map(rustix::process::getegid().as_raw()),
        }
    }
}

/// Enters new namespaces, all but that of processes, into which the next children are born. For a child
/// between fork and exec.
pub(crate) fn enter(maps: &IdMaps) -> Result<()> {
    syscall::unshare(
        UnshareFlags::NEWUSER
            | UnshareFlags::NEWNET
            | UnshareFlags::NEWIPC
            | UnshareFlags::NEWUTS
            | UnshareFlags::NEWNS
            | UnshareFlags::NEWPID,
    )?;
    write(c"/proc/self/setgroups", c"deny")?;
    write(c"/proc/self/uid_map", &maps.uids)?;
    write(c"/proc/self/gid_map", &maps.gids)?;
    rustix::system::sethostname(b"session")
}

/// Writes a short text to a file that is there.
fn write(path: &CStr, text: &CStr) -> Result<()> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    match rustix::io::write(&file, text.to_bytes())? {
        written if written == text.to_bytes().len() => Ok(()),
        _ => Err(Errno::IO),
    }
}
