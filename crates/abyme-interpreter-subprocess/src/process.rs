//! The child process: its limits, and power over it.

use std::{
    io::{self, Read},
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream, process::CommandExt},
    },
    process::{Child, ChildStderr, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use abyme_driver::Control;
use async_trait::async_trait;
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process, kill_process_group,
    setrlimit, waitid,
};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::{
    SubprocessConfig,
    spawner::{Spawner, reap},
};

/// How long a process that closed its connection may take to be gone. One that ends is gone as soon as it gets any time
/// of a processor; one that lives on keeps its cell waiting for as long as this, even over its time limit.
const EXIT_PATIENCE: Duration = Duration::from_secs(3);
/// How much of what a process said before it failed is shown.
const LAST_WORDS: u64 = 4096;

/// The command for a child with limits, in a process group of its own, whose standard input and output are `socket`.
pub(crate) fn command(
    program: &std::path::Path,
    config: &SubprocessConfig,
    work_dir: &TempDir,
    socket: UnixStream,
) -> io::Result<Command> {
    let mut command = Command::new(program);
    command.env_clear().current_dir(work_dir.path()).process_group(0);
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin").env("LANG", "C.UTF-8");
    command.env("HOME", work_dir.path()).env("TMPDIR", work_dir.path());
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
fn apply_limits(command: &mut Command, config: &SubprocessConfig) {
    let limits = [
        (Resource::As, config.memory_limit_bytes),
        (Resource::Cpu, config.cpu_timeout.map(|limit| limit.as_secs().max(1))),
        (Resource::Fsize, config.max_file_bytes),
        (Resource::Nproc, config.max_processes),
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
    // SAFETY: between fork and exec only async-signal-safe calls are allowed. `set_up` makes plain system calls
    // (getrlimit, setrlimit, prctl, getppid) over values that were computed before, allocates nothing and takes no
    // lock; its errors are built from an errno, which does not allocate either.
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

/// A running child with its working directory.
#[derive(Debug)]
pub(crate) struct Process {
    /// Keeps the thread that started the child: the kernel kills the child when that thread ends.
    _spawner: Spawner,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    stderr: Option<ChildStderr>,
    work_dir: TempDir,
}

impl Process {
    pub(crate) fn new(mut child: Child, work_dir: TempDir, spawner: Spawner) -> Self {
        let stderr = child.stderr.take();
        Self { _spawner: spawner, running: Mutex::new(Some(Running { child, stderr, work_dir })) }
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills the whole process group and hands it over to be reaped.
    fn end(&self, done: Option<oneshot::Sender<()>>) {
        let Some(running) = self.running().take() else { return };
        // It is reaped after this and nowhere else, so the id is still this child's.
        if let Some(pid) = pid_of(&running.child) {
            let _ = kill_process_group(pid, Signal::KILL);
            let _ = kill_process(pid, Signal::KILL);
        }
        if done.is_none() {
            // Nobody waits: the program may be about to end, and the reaping with it, so the directory goes at once.
            // What a dying process still wrote goes when it is reaped.
            let _ = std::fs::remove_dir_all(running.work_dir.path());
        }
        reap(running.child, running.work_dir, done);
    }

    /// How the child exited, if it did. It is left to be reaped, so that its id stays its own.
    fn status(&self) -> Option<WaitIdStatus> {
        let running = self.running();
        let pid = pid_of(&running.as_ref()?.child)?;
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(pid), options).ok().flatten()
    }

    /// What the child wrote to its stderr before the driver took that over.
    fn last_words(&self) -> String {
        let mut words = Vec::new();
        if let Some(stderr) = self.running().as_mut().and_then(|running| running.stderr.take())
            && rustix::io::ioctl_fionbio(&stderr, true).is_ok()
        {
            let _ = stderr.take(LAST_WORDS).read_to_end(&mut words);
        }
        String::from_utf8_lossy(&words).trim().to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end(None);
    }
}

#[async_trait]
impl Control for Process {
    fn is_alive(&self) -> bool {
        self.running().is_some() && self.status().is_none()
    }

    fn interrupt(&self) -> bool {
        let running = self.running();
        let pid = running.as_ref().and_then(|running| pid_of(&running.child));
        pid.is_some_and(|pid| kill_process(pid, Signal::INT).is_ok())
    }

    async fn kill(&self) {
        let (done, gone) = oneshot::channel();
        self.end(Some(done));
        // An error means that it was ended before.
        let _ = gone.await;
    }

    async fn how_it_ended(&self) -> String {
        let started = tokio::time::Instant::now();
        let status = loop {
            match self.status() {
                None if started.elapsed() < EXIT_PATIENCE => {
                    tokio::time::sleep(Duration::from_millis(5)).await
                }
                status => break status,
            }
        };
        let words = self.last_words();
        self.kill().await;
        let how = match status {
            Some(status) => describe(&status),
            None => "closed its connection and was killed".to_owned(),
        };
        if words.is_empty() { how } else { format!("{how}; its last words: {words}") }
    }
}

fn pid_of(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

/// An exit status in words.
fn describe(status: &WaitIdStatus) -> String {
    if let Some(code) = status.exit_status() {
        return format!("exited with code {code}");
    }
    let Some(signal) = status.terminating_signal() else { return "ended".to_owned() };
    let name = match signal {
        4 => " (illegal instruction)",
        6 => " (abort)",
        7 => " (bus error)",
        8 => " (arithmetic error)",
        9 => " (kill), perhaps because memory ran out",
        11 => " (segmentation fault)",
        15 => " (termination)",
        24 => " (processor time limit)",
        25 => " (file size limit)",
        _ => "",
    };
    format!("was killed by signal {signal}{name}")
}
