//! One long-lived thread that starts and reaps child processes.
//!
//! The kernel's "die with your parent" follows the *thread* that started a process, not the program: a child started
//! from a runtime's worker or blocking thread would die with that thread. Reaping here also keeps `Drop` from waiting.

use std::{
    io,
    process::{Child, Command},
    sync::mpsc,
};

use droste_core::{Error, ErrorKind, Result};
use tempfile::TempDir;
use tokio::sync::oneshot;

/// A handle on the thread. The thread lives as long as a handle does.
#[derive(Clone, Debug)]
pub(crate) struct Spawner {
    jobs: mpsc::Sender<Job>,
}

enum Job {
    Spawn { command: Box<Command>, started: oneshot::Sender<io::Result<Child>> },
    Reap { child: Child, work_dir: TempDir, done: Option<oneshot::Sender<()>> },
}

impl Spawner {
    /// Starts the thread.
    pub(crate) fn new() -> Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        std::thread::Builder::new().name("droste-spawner".to_owned()).spawn(move || work(&queue)).map_err(
            |error| {
                Error::new(
                    ErrorKind::Unavailable,
                    format!("cannot start a thread for child processes: {error}"),
                )
                .source(error)
            },
        )?;
        Ok(Self { jobs })
    }

    /// Starts a child process.
    pub(crate) async fn spawn(&self, command: Command) -> io::Result<Child> {
        let (started, answer) = oneshot::channel();
        let job = Job::Spawn { command: Box::new(command), started };
        let gone = || io::Error::other("the thread for child processes is gone");
        self.jobs.send(job).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Waits for a killed child to be gone and then removes its working directory. Returns at once; `done` hears of
    /// it.
    pub(crate) fn reap(&self, child: Child, work_dir: TempDir, done: Option<oneshot::Sender<()>>) {
        // Without its thread there is nobody to reap; dropping both is all that is left.
        let _ = self.jobs.send(Job::Reap { child, work_dir, done });
    }
}

fn work(queue: &mpsc::Receiver<Job>) {
    while let Ok(job) = queue.recv() {
        match job {
            Job::Spawn { mut command, started } => {
                // A child nobody waits for any more (its future was dropped) must not live on.
                if let Err(Ok(mut child)) = started.send(command.spawn()) {
                    let _ = child.kill();
                    let _ = child.wait();
                }
            }
            Job::Reap { mut child, work_dir, done } => {
                let _ = child.wait();
                if let Err(error) = work_dir.close()
                    && error.kind() != io::ErrorKind::NotFound
                {
                    tracing::warn!(%error, "a session's working directory could not be removed");
                }
                if let Some(done) = done {
                    let _ = done.send(());
                }
            }
        }
    }
}
