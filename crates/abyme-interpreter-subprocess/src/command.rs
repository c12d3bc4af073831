//! The command that starts a child process, with its limits.

use std::{
    io,
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream, process::CommandExt},
    },
    path::Path,
    process::{Command, Stdio},
};

use rustix::process::{Resource, Rlimit, Signal, setrlimit};

use crate::config::Config;

/// The command for a child with limits, in a process group of its own, whose standard input and output are
/// `socket`.
pub(crate) fn command(
    program: &Path,
    config: &Config,
    work_dir: &Path,
    socket: UnixStream,
) -> io::Result<Command> {
    let mut command = Command::new(program);
    command.env_clear().current_dir(work_dir).process_group(0);
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
    apply_limits(&mut command, config);
    Ok(command)
}

/// Sets the limits that hold for the child and everything it starts.
#[allow(unsafe_code, reason = "limits have to be set between fork and exec")]
fn apply_limits(command: &mut Command, config: &Config) {
    let limits = [
        (Resource::As, config.memory_limit_bytes),
        (Resource::Cpu, config.cpu_timeout.map(|limit| limit.as_secs().max(1))),
        (Resource::Fsize, config.max_file_bytes),
        (Resource::Nproc, config.max_processes.map(u64::from)),
        (Resource::Nofile, config.max_open_files),
        (Resource::Core, Some(0)),
    ];
    let parent = std::process::id();
    let set_up = move || {
        for (resource, limit) in limits {
            if let Some(limit) = limit {
                lower(resource, limit)?;
            }
        }
        die_with_parent(parent)
    };
    // SAFETY: between fork and exec only async-signal-safe calls are allowed. `set_up` makes plain system
    // calls (getrlimit, setrlimit, prctl, getppid) over values that were computed before, allocates nothing
    // and takes no lock; its errors are built from an errno, which does not allocate either.
    unsafe {
        command.pre_exec(set_up);
    }
}

/// Lowers a limit; one that is lower already stays.
fn lower(resource: Resource, limit: u64) -> io::Result<()> {
    let now = rustix::process::getrlimit(resource);
    let at_most = |limit: u64, now: Option<u64>| Some(now.map_or(limit, |now| now.min(limit)));
    // Over the lower limit of processor time comes a signal that says so, over the higher one a plain kill.
    let hard = if resource == Resource::Cpu { limit.saturating_add(1) } else { limit };
    setrlimit(resource, Rlimit { current: at_most(limit, now.current), maximum: at_most(hard, now.maximum) })
        .map_err(Into::into)
}

/// Asks the kernel to kill the child when the thread that started it is gone, unless it already is.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn die_with_parent(parent: u32) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    if now != i32::try_from(parent).ok() {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    Ok(())
}

/// Elsewhere the driver ends when its connection does.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn die_with_parent(_: u32) -> io::Result<()> {
    Ok(())
}
