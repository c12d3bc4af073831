//! Starts a child process, connects it to a driver session, and controls it from then on.

use std::{
    io::{self, Read},
    os::unix::net::UnixStream,
    process::{Child, ChildStderr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use abyme_core::{Capabilities, Error, ErrorKind, Result};
use abyme_driver::{
    Control, DriverSession, DriverTimeouts, Launcher, exited, killed_by,
    python::{self, BOOT},
};
use async_trait::async_trait;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process, kill_process_group, waitid,
};
use tokio::{
    io::AsyncWriteExt,
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
    sync::{OnceCell, oneshot},
};

use crate::{
    command,
    config::Config,
    probe::Python,
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
    pub(crate) capabilities: Capabilities,
    /// The driver to run in place of Abyme's own.
    driver: Option<DriverFiles>,
    python: OnceCell<(Python, Spawner)>,
    work_dirs: WorkDirs,
}

impl SubprocessLauncher {
    pub(crate) fn new(config: Config, capabilities: Capabilities) -> Self {
        Self { config, capabilities, driver: None, python: OnceCell::new(), work_dirs: WorkDirs::default() }
    }

    /// The same configuration, with nothing started.
    pub(crate) fn unstarted(&self) -> Self {
        let (config, capabilities) = (self.config.clone(), self.capabilities.clone());
        Self { driver: self.driver.clone(), ..Self::new(config, capabilities) }
    }

    pub(crate) fn with_driver(mut self, files: DriverFiles) -> Self {
        self.driver = Some(files);
        self
    }

    /// The real Python and the thread that starts it, found on first use. A failure is not remembered.
    async fn python(&self) -> Result<&(Python, Spawner)> {
        let find = || async {
            let files: Vec<(&str, &str)> = match &self.driver {
                Some(files) => files.iter().map(|(name, source)| (name.as_str(), source.as_str())).collect(),
                None => python::DRIVER.to_vec(),
            };
            Ok((Python::find(&self.config.python, &files).await?, Spawner::new()?))
        };
        self.python.get_or_try_init(find).await
    }
}

#[async_trait]
impl Launcher for SubprocessLauncher {
    type Reader = OwnedReadHalf;
    type Writer = OwnedWriteHalf;

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn launch(&self) -> Result<DriverSession<OwnedReadHalf, OwnedWriteHalf>> {
        let (python, spawner) = self.python().await?;
        let config = &self.config;
        let failed = |what: &str, error: io::Error| {
            Error::new(ErrorKind::Unavailable, format!("{what}: {error}")).with_source(error)
        };
        let parent = config.temp_dir.clone().unwrap_or_else(std::env::temp_dir);
        let work_dir = self
            .work_dirs
            .make(&parent)
            .map_err(|error| failed("cannot make a working directory for the session", error))?;
        let connect = || -> io::Result<_> {
            let (ours, theirs) = UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            let command = command::command(&python.executable, config, work_dir.path(), theirs)?;
            Ok((tokio::net::UnixStream::from_std(ours)?, command))
        };
        let (socket, mut command) =
            connect().map_err(|error| failed("cannot connect a child process", error))?;
        command.args(["-I", "-c", BOOT]);
        let child = spawner
            .spawn(command)
            .await
            .map_err(|error| failed(&format!("cannot start {}", python.executable.display()), error))?;
        let process = Arc::new(Process::new(child, work_dir, spawner.clone()));
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
    child: Child,
    stderr: Option<ChildStderr>,
    work_dir: WorkDir,
}

impl Process {
    fn new(mut child: Child, work_dir: WorkDir, spawner: Spawner) -> Self {
        let stderr = child.stderr.take();
        Self { _spawner: spawner, running: Mutex::new(Some(Running { child, stderr, work_dir })) }
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills the whole process group. A thread of its own reaps it and removes its directory, so that this
    /// never blocks.
    fn end(&self, done: Option<oneshot::Sender<()>>) {
        let Some(running) = self.running().take() else { return };
        // Only `reap` below reaps the child, so the id is still its own.
        if let Some(pid) = pid_of(&running.child) {
            let _ = kill_process_group(pid, Signal::KILL);
            let _ = kill_process(pid, Signal::KILL);
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
        let (done, reaped) = oneshot::channel();
        self.end(Some(done));
        // An error means that it was ended before.
        let _ = reaped.await;
    }

    async fn how_it_ended(&self) -> String {
        let closed = tokio::time::Instant::now();
        let status = loop {
            match self.status() {
                None if closed.elapsed() < EXIT_TIMEOUT => tokio::time::sleep(Duration::from_millis(5)).await,
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
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => exited(code.into()),
        (None, Some(signal)) => killed_by(signal.into(), None),
        (None, None) => "ended".to_owned(),
    }
}
