//! A trajectory on disk, written as it happens, on a thread of its own.

use std::{
    fmt, fs,
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::event::{EventSink, Record};
use crate::error::{Error, ErrorKind, Result};

/// Writes the events of a run to a file as they happen: one line of JSON and one write for each, on a thread
/// of its own, so that a slow disk does not hold up the run.
///
/// The file is complete when the run's future is done. If a run is dropped, the thread writes what is left a
/// moment later. A crash of the process costs the events that the thread had not written yet: as a rule the
/// last one or none, and more if the disk is slower than the run.
///
/// A disk that fills up costs one warning, not the run: the file ends after its last whole line, and
/// [`failure`](Self::failure) says why.
pub struct TrajectoryWriter {
    jobs: mpsc::Sender<Job>,
    failure: Arc<Failure>,
}

enum Job {
    Write(Arc<Record>),
    /// Answers when everything before it is written.
    Flush(oneshot::Sender<()>),
}

impl fmt::Debug for TrajectoryWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrajectoryWriter").field("path", &self.failure.path).finish_non_exhaustive()
    }
}

impl TrajectoryWriter {
    /// Writes to a new file, which its owner alone may read, because a run may hold what is secret; or
    /// replaces one of that name, which keeps its permissions.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] with the path.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path).map_err(|error| {
            Error::new(ErrorKind::Io, format!("cannot write the trajectory to {}: {error}", path.display()))
                .with_source(error)
        })?;
        Ok(Self::to_writer(path, file))
    }

    /// Writes to anything; `name` is for messages.
    pub fn to_writer(name: impl Into<PathBuf>, out: impl Write + Send + 'static) -> Self {
        let failure = Arc::new(Failure { path: name.into(), reason: Mutex::default() });
        let (jobs, queue) = mpsc::channel();
        let thread = thread::Builder::new().name("abyme-trajectory".into()).spawn({
            let failure = failure.clone();
            move || write_all(&queue, out, &failure)
        });
        if let Err(error) = thread {
            failure.note(&error);
        }
        Self { jobs, failure }
    }

    /// Why writing stopped before the run's end, if it did.
    pub fn failure(&self) -> Option<String> {
        self.failure.reason()
    }
}

#[async_trait]
impl EventSink for TrajectoryWriter {
    fn record(&self, record: &Arc<Record>) {
        if self.jobs.send(Job::Write(record.clone())).is_err() {
            self.failure.note(&"the thread that writes has ended");
        }
    }

    async fn flush(&self) {
        let (done, written) = oneshot::channel();
        if self.jobs.send(Job::Flush(done)).is_ok() {
            // An error means that the thread has ended: there is nothing to wait for.
            written.await.ok();
        }
    }
}

/// Why nothing more is written: the first reason counts.
struct Failure {
    path: PathBuf,
    reason: Mutex<Option<String>>,
}

impl Failure {
    fn note(&self, error: &dyn fmt::Display) {
        let mut reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        if reason.is_none() {
            let path = self.path.display();
            tracing::warn!(%path, %error, "the trajectory cannot be written any further");
            *reason = Some(error.to_string());
        }
    }

    fn reason(&self) -> Option<String> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The thread: it ends when the writer is dropped and everything is written.
fn write_all(queue: &mpsc::Receiver<Job>, mut out: impl Write, failure: &Failure) {
    let mut failed = false;
    for job in queue {
        match job {
            Job::Write(_) if failed => {}
            Job::Write(record) => {
                let written = out.write_all(record.to_line().as_bytes()).and_then(|()| out.flush());
                if let Err(error) = written {
                    failure.note(&error);
                    failed = true;
                }
            }
            Job::Flush(done) => drop(done.send(())),
        }
    }
}
