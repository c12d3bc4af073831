//! Starts a child process, connects it to a driver session, and controls it from then on.

use std::{
    io::{self, Read},
    os::unix::net::UnixStream,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use abyme_core::{Capabilities, Error, ErrorKind, Result};
use abyme_driver::{
    Control, DriverSession, DriverTimeouts, Launcher, exited, killed_by,
    python::{self, BOOT},
};
use async_trait::async_trait;
use rustix::process::{Signal, WaitIdStatus, kill_process};
use tokio::{
    io::AsyncWriteExt,
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
    sync::{OnceCell, oneshot},
};

use crate::{
    command::{before_exec, command},
    config::Config,
    isolation::{Plan, Prepared},
    probe::Python,
    process::ChildProcess,
    spawner::{Spawner, reap},
    work_dir::{WorkDir, WorkDirs},
};

/// How long a process that closed its connection may take to exit. A process that is ending exits as soon as
/// it gets any processor time. One that lives on keeps its cell waiting for as long as this, even over the
/// cell's time limit.
const EXIT_TIMEOUT: Duration = Duration::from_secs(3);
/// How many bytes that a process wrote before it failed are reported.
const LAST_WORDS: u64 = 4096;

/// The files of a driver: their names and sources.
type DriverFiles = Arc<[(String, String)]>;

/// What all sessions of one [`Subprocess`](crate::Subprocess) share. Code in the sessions cannot reach it.
#[derive(Debug)]
pub(crate) struct SubprocessLauncher {
    pub(crate) config: Config,
    /// What the configuration declares before its isolation is decided on.
    open: Capabilities,
    /// What is applied, and what that declares. Decided on first use, because trying it out takes a moment.
    plan: OnceLock<(Plan, Capabilities)>,
    /// The driver to run in place of Abyme's own.
    driver: Option<DriverFiles>,
    python: OnceCell<Groundwork>,
    work_dirs: WorkDirs,
}

/// What is found on first use.
#[derive(Debug)]
struct Groundwork {
    python: Python,
    prepared: Prepared,
    /// The thread that starts the processes.
    spawner: Spawner,
}

impl SubprocessLauncher {
    /// `open` is what the configuration declares, the isolation left out.
    pub(crate) fn new(config: Config, open: Capabilities) -> Self {
        Self {
            config,
            open,
            plan: OnceLock::new(),
            driver: None,
            python: OnceCell::new(),
            work_dirs: WorkDirs::default(),
        }
    }

    /// The driver of another configuration, with nothing started.
    pub(crate) fn with_config(&self, config: Config, open: Capabilities) -> Self {
        Self { driver: self.driver.clone(), ..Self::new(config, open) }
    }

    /// The same configuration, with nothing started.
    pub(crate) fn unstarted(&self) -> Self {
        self.with_config(self.config.clone(), self.open.clone())
    }

    fn plan(&self) -> &(Plan, Capabilities) {
        self.plan.get_or_init(|| {
            let plan = Plan::of(&self.config);
            let mut capabilities = self.open.clone();
            plan.declare(&self.config, &mut capabilities);
            (plan, capabilities)
        })
    }

    pub(crate) fn with_driver(mut self, files: DriverFiles) -> Self {
        self.driver = Some(files);
        self
    }

    /// The real Python and the thread that starts it, found on first use. A failure is not remembered.
    async fn python(&self) -> Result<&Groundwork> {
        let find = || async {
            let files: Vec<(&str, &str)> = match &self.driver {
                Some(files) => files.iter().map(|(name, source)| (name.as_str(), source.as_str())).collect(),
                None => python::DRIVER.to_vec(),
            };
            let python = Python::find(&self.config.python, &files).await?;
            let prepared = self.plan().0.prepare(&self.config, &python.reads)?;
            Ok(Groundwork { python, prepared, spawner: Spawner::new()? })
        };
        self.python.get_or_try_init(find).await
    }
}

#[async_trait]
impl Launcher for SubprocessLauncher {
    type Reader = OwnedReadHalf;
    type Writer = OwnedWriteHalf;

    fn capabilities(&self) -> &Capabilities {
        &self.plan().1
    }

    async fn launch(&self) -> Result<DriverSession<OwnedReadHalf, OwnedWriteHalf>> {
        let Groundwork { python, prepared, spawner } = self.python().await?;
        let config = &self.config;
        let failed = |what: &str, error: io::Error| {
            Error::new(ErrorKind::Unavailable, format!("{what}: {error}")).with_source(error)
        };
        let made = match prepared.own_work_dir() {
            Some(_) => None,
            None => {
                let parent = config.temp_dir.clone().unwrap_or_else(std::env::temp_dir);
                let made = self.work_dirs.make(&parent);
                Some(made.map_err(|error| failed("cannot make a working directory for the session", error))?)
            }
        };
        let of_host = made.as_ref().map(WorkDir::path);
        let work_dir = prepared.own_work_dir().or(of_host).unwrap_or(Path::new("/"));
        let (entry, watch) = prepared.entry(work_dir)?;
        let connect = || -> io::Result<_> {
            let (ours, theirs) = UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            let command = command(&python.executable, config, work_dir, theirs)?;
            Ok((tokio::net::UnixStream::from_std(ours)?, command))
        };
        let (socket, mut command) =
            connect().map_err(|error| failed("cannot connect a child process", error))?;
        if let Some(dir) = of_host {
            command.current_dir(dir);
        }
        command.args(["-I", "-c", BOOT]).args(prepared.driver_arguments());
        before_exec(&mut command, entry);
        let child = spawner.spawn(command, watch).await;
        let child = child.map_err(|error| error.explained(&python.executable.display().to_string()))?;
        let process = Arc::new(Process::new(child, made, spawner.clone()));
        let (input, mut output) = socket.into_split();
        // The handshake detects a child that dies or never reads, and says how it ended.
        let _ = tokio::time::timeout(config.start_timeout, output.write_all(&python.bundle)).await;
        let timeouts =
            DriverTimeouts { start_timeout: config.start_timeout, interrupt_grace: config.interrupt_grace };
        let session = DriverSession::new(input, output, process, timeouts);
        Ok(session.max_message_bytes(config.max_message_bytes))
    }
}

/// A running child with its working directory.
#[derive(Debug)]
struct Process {
    /// Keeps the thread that started the child: the kernel kills the child when that thread ends.
    _spawner: Spawner,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    child: ChildProcess,
    /// Its directory, if that is one of the host's.
    work_dir: Option<WorkDir>,
}

impl Process {
    fn new(child: ChildProcess, work_dir: Option<WorkDir>, spawner: Spawner) -> Self {
        Self { _spawner: spawner, running: Mutex::new(Some(Running { child, work_dir })) }
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills the process with all that it started. A thread of its own reaps it and removes its
    /// directory, so that this never blocks.
    fn end(&self, done: Option<oneshot::Sender<()>>) {
        let Some(running) = self.running().take() else { return };
        running.child.kill();
        reap(running.child, running.work_dir, done);
    }

    /// How the child exited, if it did. It is left to be reaped, so that its id stays its own.
    fn status(&self) -> Option<WaitIdStatus> {
        self.running().as_ref()?.child.status()
    }

    /// How it ended, in words, if it did.
    fn described(&self) -> Option<String> {
        let running = self.running();
        let child = &running.as_ref()?.child;
        Some(describe(&child.status()?, child.overrun_bytes()))
    }

    /// What the child wrote to its stderr before the driver took that over.
    fn last_words(&self) -> String {
        let mut words = Vec::new();
        if let Some(stderr) = self.running().as_mut().and_then(|running| running.child.take_stderr())
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
        let pid = running.as_ref().and_then(|running| running.child.pid());
        pid.is_some_and(|pid| kill_process(pid, Signal::INT).is_ok())
    }

    async fn kill(&self) {
        let (done, reaped) = oneshot::channel();
        self.end(Some(done));
        // An error means that it was ended before.
        let _ = reaped.await;
    }

    async fn how_it_ended(&self) -> String {
        let closed = tokio::time::Instant::now();
        // On some systems a status may not be kept while waiting.
        let how = loop {
            let how = self.described();
            if how.is_some() || closed.elapsed() >= EXIT_TIMEOUT {
                break how;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let words = self.last_words();
        self.kill().await;
        let how = how.unwrap_or_else(|| "closed its connection and was killed".to_owned());
        if words.is_empty() { how } else { format!("{how}; its last words: {words}") }
    }
}

/// An exit status in words. `overrun_bytes` is the limit of memory that the kernel has killed for.
fn describe(status: &WaitIdStatus, overrun_bytes: Option<u64>) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => exited(code.into()),
        (None, Some(signal)) => {
            let limit = overrun_bytes.filter(|_| signal == Signal::KILL.as_raw());
            let cause = limit.map(|bytes| format!("because memory ran out (limit {} MB)", bytes >> 20));
            killed_by(signal.into(), cause.as_deref())
        }
        (None, None) => "ended".to_owned(),
    }
}
