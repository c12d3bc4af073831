//! Namespaces of a session's own: users, network, messages, host name, mounts, processes.
//!
//! A process enters a pid namespace only by being born into it, so the child that enters the others has two
//! children: the first process of the pid namespace, and Python. Both are made children of the host
//! (`CLONE_PARENT`), which signals them and waits for them as for any other child. The one between ends.

use rustix::{io::Result, thread::UnshareFlags};

use super::{syscall, write::write};

/// The id of the session's user and group inside. It is not that of root, so that Python starts without the
/// capabilities that its user has over the namespaces.
pub(crate) const INNER_ID: u32 = 1000;

/// The user of the host that the session's user stands for.
#[derive(Clone, Debug)]
pub(crate) struct IdMaps {
    uids: String,
    gids: String,
}

impl IdMaps {
    /// The maps of the current user.
    pub(crate) fn of_this_user() -> Self {
        let map = |id: u32| format!("{INNER_ID} {id} 1");
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
    write(c"/proc/self/setgroups", b"deny")?;
    write(c"/proc/self/uid_map", maps.uids.as_bytes())?;
    write(c"/proc/self/gid_map", maps.gids.as_bytes())?;
    rustix::system::sethostname(b"session")
}
