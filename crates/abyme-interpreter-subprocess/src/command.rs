//! The command that starts a child process.

use std::{
    io,
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream, process::CommandExt},
    },
    path::Path,
    process::{Command, Stdio},
};

use crate::{config::Config, isolation::entry::Entry};

/// The command for a child in a process group of its own, whose standard input and output are `socket`.
/// `work_dir` is its working directory as it sees it.
pub(crate) fn command(
    program: &Path,
    config: &Config,
    work_dir: &Path,
    socket: UnixStream,
) -> io::Result<Command> {
    let mut command = Command::new(program);
    command.env_clear().process_group(0);
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin").env("LANG", "C.UTF-8");
    command.env("HOME", work_dir).env("TMPDIR", work_dir);
    // Every arena takes 64 MB of address space, which is what is limited.
    command.env("MALLOC_ARENA_MAX", "2");
    for name in &config.env_allow {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.envs(&config.env);
    command.stdin(OwnedFd::from(socket.try_clone()?)).stdout(OwnedFd::from(socket)).stderr(Stdio::piped());
    Ok(command)
}

/// Has the child do something between fork and exec.
#[allow(unsafe_code, reason = "limits and isolation have to be applied between fork and exec")]
pub(crate) fn before_exec(command: &mut Command, entry: Entry) {
    // SAFETY: between fork and exec only async-signal-safe calls are allowed. `enter` makes plain system
    // calls over values that were computed before, allocates nothing and takes no lock; its errors are built
    // from an errno, which does not allocate either.
    unsafe {
        command.pre_exec(move || entry.enter());
    }
}
