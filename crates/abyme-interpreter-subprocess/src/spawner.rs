//! One long-lived thread that starts child processes.
//!
//! The kernel's parent death signal follows the *thread* that started a process, not the program. A child
//! that is started from a runtime's worker or blocking thread would die with that thread.

use std::{io, process::Command, sync::mpsc};

use abyme_core::{Error, ErrorKind};
use tokio::sync::oneshot;

use crate::{
    isolation::entry::Watch,
    process::{ChildProcess, StartError},
    work_dir::WorkDir,
};

/// A handle on the thread. The thread lives as long as a handle does.
#[derive(Clone, Debug)]
pub(crate) struct Spawner {
    jobs: mpsc::Sender<Job>,
}

struct Job {
    command: Box<Command>,
    watch: Option<Watch>,
    reply: oneshot::Sender<Result<ChildProcess, StartError>>,
}

impl Spawner {
    /// Starts the thread.
    pub(crate) fn new() -> Result<Self, Error> {
        let (jobs, queue) = mpsc::channel::<Job>();
        std::thread::Builder::new().name("abyme-spawner".to_owned()).spawn(move || work(&queue)).map_err(
            |error| {
                Error::new(
                    ErrorKind::Unavailable,
                    format!("cannot start a thread for child processes: {error}"),
                )
                .with_source(error)
            },
        )?;
        Ok(Self { jobs })
    }

    /// Starts a child process. It is killed if this future is dropped.
    pub(crate) async fn spawn(
        &self,
        command: Command,
        watch: Option<Watch>,
    ) -> Result<ChildProcess, StartError> {
        let (reply, child) = oneshot::channel();
        let ended = || io::Error::other("the thread for child processes has ended");
        self.jobs.send(Job { command: Box::new(command), watch, reply }).map_err(|_| ended())?;
        child.await.map_err(|_| ended())?
    }
}

/// Waits for the exit of a killed child and removes its working directory. Returns at once; `done` is told at
/// the end.
///
/// This has a thread of its own, because a directory may be large and starting other children must not wait
/// for it.
pub(crate) fn reap(mut child: ChildProcess, work_dir: Option<WorkDir>, done: Option<oneshot::Sender<()>>) {
    let work = move || {
        child.reap();
        if let Some(Err(error)) = work_dir.map(WorkDir::close)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "a session's working directory could not be removed");
        }
        if let Some(done) = done {
            let _ = done.send(());
        }
    };
    // Without a thread, what was moved into it is dropped, which does the same here and now.
    if let Err(error) = std::thread::Builder::new().name("abyme-reaper".to_owned()).spawn(work) {
        tracing::warn!(%error, "no thread to reap a child process");
    }
}

fn work(queue: &mpsc::Receiver<Job>) {
    while let Ok(Job { command, watch, reply }) = queue.recv() {
        // If the caller no longer waits, the child is dropped here, which kills it.
        let _ = reply.send(ChildProcess::start(*command, watch));
    }
}
