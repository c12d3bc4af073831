//! The file system of a session: a small one in memory, with parts of the host's mounted into it, read-only.
//!
//! What is not mounted is not there: no path leads to it. Two directories can be written to, `/tmp` and what
//! is below it, and these are in memory too, with a limit for all files together.

use std::{
    ffi::{CStr, CString, OsStr},
    io,
    os::unix::ffi::OsStrExt,
    path::Path,
};

use rustix::{
    fs::Mode,
    io::Result,
    mount::{MountFlags, MountPropagationFlags, UnmountFlags},
};

use super::{
    init,
    layout::{Layout, Node},
    namespaces::INNER_ID,
    syscall,
    write::make_file,
};

/// The working directory of a session, inside.
pub(crate) const WORK: &CStr = c"/tmp/session";
/// [`WORK`] as a path.
pub(crate) fn work_dir() -> &'static Path {
    Path::new(OsStr::from_bytes(WORK.to_bytes()))
}

/// Where the host's file system is while the session's is made.
const OLD: &CStr = c"/.old";
/// A directory that is on every Linux. The new root is mounted there for a moment.
const MOUNT_POINT: &CStr = c"/dev";
const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom"];
/// Bytes of a file in memory for which one more file is allowed.
const BYTES_PER_FILE: u64 = 16 << 10;

/// What a child does to make the file system, computed before the fork.
#[derive(Debug)]
pub(crate) struct Root {
    steps: Vec<Step>,
    tmp_options: CString,
    init: Vec<u8>,
    users: CString,
}

#[derive(Debug)]
enum Step {
    Dir(CString),
    Link {
        target: CString,
        at: CString,
    },
    /// A directory or file of the host, `at` the same path.
    Mount {
        from: CString,
        at: CString,
        is_dir: bool,
        attributes: u64,
    },
}

impl Root {
    /// A file system that looks like `layout`, whose files may take `disk_limit_bytes`.
    pub(crate) fn new(layout: &Layout, disk_limit_bytes: u64) -> io::Result<Self> {
        let mut steps = Vec::new();
        for dir in [c"/dev", c"/proc", c"/tmp/shm", WORK] {
            steps.push(Step::Dir(dir.to_owned()));
        }
        // What is shared by name between processes, and semaphores, are files of the session like others.
        steps.push(Step::Link { target: c"/tmp/shm".to_owned(), at: c"/dev/shm".to_owned() });
        for device in DEVICES {
            let path = format!("/dev/{device}");
            // A device is written to all the same. What is read-only are its mode, owner and times.
            let attributes = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;
            steps.push(Step::mount(Path::new(&path), false, attributes)?);
        }
        let read_only = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
        for (path, node) in layout.nodes() {
            steps.push(match node {
                Node::Dir => Step::Dir(c_path(path)?),
                Node::Link(target) => Step::Link { target: c_path(target)?, at: c_path(path)? },
                Node::HostDir => Step::mount(path, true, read_only)?,
                Node::HostFile => Step::mount(path, false, read_only)?,
            });
        }
        let files = (disk_limit_bytes / BYTES_PER_FILE).max(64);
        // A size of 0 would be no limit.
        let size = disk_limit_bytes.max(1);
        let tmp_options = format!("mode=0700,size={size},nr_inodes={files}");
        let users = format!("session:x:{INNER_ID}:{INNER_ID}::{}:/\n", WORK.to_string_lossy());
        Ok(Self { steps, tmp_options: c_text(tmp_options)?, init: init::program(), users: c_text(users)? })
    }

    /// Makes the file system and enters it; the host's stays at one place. For a child between fork and exec,
    /// in a mount namespace of its own.
    pub(crate) fn build(&self) -> Result<()> {
        use rustix::mount::{mount, mount_change};

        mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount(c"session", MOUNT_POINT, c"tmpfs", flags, c"mode=0755,size=1m")?;
        rustix::process::chdir(MOUNT_POINT)?;
        make_dir(c".old")?;
        rustix::process::pivot_root(c".", c".old")?;
        rustix::process::chdir(c"/")?;
        make_dir(c"/tmp")?;
        mount(c"session", c"/tmp", c"tmpfs", flags | MountFlags::NOEXEC, self.tmp_options.as_c_str())?;
        make_dir(c"/etc")?;
        make_file(init::PATH, &self.init, 0o555)?;
        make_file(c"/etc/passwd", self.users.to_bytes(), 0o444)?;
        self.steps.iter().try_for_each(Step::take)
    }

    /// Leaves the host's file system behind. For the process that becomes Python, in its pid namespace.
    pub(crate) fn close(&self) -> Result<()> {
        let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        // Where another one is not to be seen whole, in many containers, the kernel refuses this one. A
        // session can do without: Python and its packages hardly look there.
        let _ = rustix::mount::mount(c"proc", c"/proc", c"proc", flags, c"subset=pid");
        rustix::mount::unmount(OLD, UnmountFlags::DETACH)?;
        rustix::fs::rmdir(OLD)?;
        syscall::restrict_mount(c"/", libc::MOUNT_ATTR_RDONLY, false)?;
        rustix::process::chdir(WORK)
    }
}

impl Step {
    fn mount(path: &Path, is_dir: bool, attributes: u64) -> io::Result<Self> {
        let mut from = OLD.to_bytes().to_vec();
        from.extend(path.as_os_str().as_bytes());
        Ok(Self::Mount { from: CString::new(from)?, at: c_path(path)?, is_dir, attributes })
    }

    fn take(&self) -> Result<()> {
        match self {
            Step::Dir(at) => make_dir(at),
            Step::Link { target, at } => rustix::fs::symlink(target.as_c_str(), at.as_c_str()),
            Step::Mount { from, at, is_dir, attributes } => {
                if *is_dir {
                    make_dir(at)?;
                } else {
                    make_file(at, b"", 0o444)?;
                }
                rustix::mount::mount_bind_recursive(from.as_c_str(), at.as_c_str())?;
                syscall::restrict_mount(at, *attributes, *is_dir)
            }
        }
    }
}

/// Makes a directory, if it is not there.
fn make_dir(path: &CStr) -> Result<()> {
    match rustix::fs::mkdir(path, Mode::from_bits_retain(0o755)) {
        Err(rustix::io::Errno::EXIST) => Ok(()),
        made => made,
    }
}

fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

fn c_text(text: String) -> io::Result<CString> {
    Ok(CString::new(text)?)
}
