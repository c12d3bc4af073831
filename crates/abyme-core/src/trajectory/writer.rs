//! A trajectory on disk, written as it happens, on a thread of its own.

use std::{
    fmt,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{
    event::{Event, EventSink, Record},
    file::{self, Out, Stream},
    format::{Decoded, Encoder, decode},
};
use crate::{error::Result, runtime::off_the_runtime};

/// When a [`TrajectoryWriter`] waits until the disk has what was written.
///
/// A process that is killed loses nothing by any of them: what was written is with the operating system. They
/// differ in what is there after the machine itself has failed. The thread of the writer waits for the disk;
/// the run waits for that thread before it first asks its model, before it calls a tool that
/// [writes](crate::Effect::Write), and at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fsync {
    /// The operating system decides when: as a rule within half a minute. The default.
    #[default]
    Never,
    /// After each cell, and at the end of a run: all but the turn in progress is there.
    EachTurn,
    /// After each event.
    EachEvent,
}

/// How a trajectory is written.
///
/// ```no_run
/// # async fn example(rlm: abyme_core::Rlm) -> abyme_core::Result<()> {
/// use abyme_core::{Fsync, TrajectoryWriterConfig, inputs};
///
/// let writer = TrajectoryWriterConfig::default().fsync(Fsync::EachEvent).create("run.jsonl")?;
/// let answer = rlm.run(inputs! { q: "?" }).on_event(writer).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TrajectoryWriterConfig {
    /// When to wait for the disk. Default [`Fsync::Never`].
    pub fsync: Fsync,
}

impl TrajectoryWriterConfig {
    /// Sets when to wait for the disk.
    pub fn fsync(mut self, fsync: Fsync) -> Self {
        self.fsync = fsync;
        self
    }

    /// [`TrajectoryWriter::create`] with this configuration.
    ///
    /// # Errors
    /// Those of [`TrajectoryWriter::create`].
    pub fn create(&self, path: impl AsRef<Path>) -> Result<TrajectoryWriter> {
        let path = path.as_ref();
        let file = file::create(path)?;
        let mut log = Log::new(file, self.fsync);
        // What cannot be written to at all is found before the run costs anything.
        log.write_pending().map_err(|error| file::cannot_write(path, error))?;
        Ok(TrajectoryWriter::start(path, log))
    }

    /// The records of a file, and what goes on writing it.
    pub(super) fn reopen(&self, path: &Path) -> Result<(Vec<Arc<Record>>, TrajectoryWriter)> {
        let mut file = file::reopen(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|error| file::cannot_read(path, error))?;
        let decoded = decode(&bytes).map_err(|error| error.context(path.display()))?;
        let Decoded { records, encoder, whole_bytes } = decoded;
        let log = Log {
            out: Box::new(file),
            encoder,
            fsync: self.fsync,
            whole_bytes: whole_bytes as u64,
            is_torn: whole_bytes < bytes.len(),
            pending: String::new(),
        };
        Ok((records, TrajectoryWriter::start(path, log)))
    }
}

/// Writes the events of a run to a file as they happen, on a thread of its own, so that a slow disk does not
/// hold up the run. `TRAJECTORY.md` has the format.
///
/// The file is complete when the run's future is done. If a run is dropped, the thread writes what is left a
/// moment later. A crash of the process costs the events that the thread had not written yet: as a rule the
/// last one or none, and more if the disk is slower than the run. But the file has the start of a run before
/// its model is asked, and all up to the start of a call of a tool that [writes](crate::Effect::Write) before
/// the tool is called, so that no such call is made again without asking. [`Fsync`] says what a crash of the
/// machine costs.
///
/// A disk that fills up costs one warning, not the run. The file ends after its last whole line, and goes on
/// once there is room again; until then [`failure`](Self::failure) says why it does not, and calls of tools
/// that [write](crate::Effect::Write) are not made: they raise an `OSError` in their cells.
///
/// Nothing else can write the file until the writer and its thread have ended: a second writer is refused,
/// in this process too.
pub struct TrajectoryWriter {
    jobs: mpsc::Sender<Job>,
    failure: Arc<WriteFailure>,
}

enum Job {
    Write(Arc<Record>),
    /// Answers when everything before it is written.
    Flush(mpsc::Sender<()>),
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
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) with the path, also if a run that has not ended writes the
    /// file.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        TrajectoryWriterConfig::default().create(path)
    }

    /// Writes to anything; `name` is for messages. What failed once to be written ends the record.
    pub fn to_writer(name: impl Into<PathBuf>, out: impl Write + Send + 'static) -> Self {
        Self::start(name, Log::new(Stream(out), Fsync::EachEvent))
    }

    fn start(name: impl Into<PathBuf>, log: Log) -> Self {
        let failure = Arc::new(WriteFailure { path: name.into(), reason: Mutex::default() });
        let (jobs, queue) = mpsc::channel();
        let thread = thread::Builder::new().name("abyme-trajectory".into()).spawn({
            let failure = failure.clone();
            move || write_all(&queue, log, &failure)
        });
        if let Err(error) = thread {
            failure.note(&error);
        }
        Self { jobs, failure }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.failure.path
    }

    /// Why events are missing at the end of the file, if they are.
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
        let (done, written) = mpsc::channel();
        if self.jobs.send(Job::Flush(done)).is_ok() {
            // An error means that the thread has ended: there is nothing to wait for. The wait is off the
            // runtime, so that a clock that is paused for a test stands still meanwhile.
            off_the_runtime(move || written.recv().ok()).await;
        }
    }

    fn failure(&self) -> Option<String> {
        self.failure.reason()
    }
}

/// Why the file lacks events.
struct WriteFailure {
    path: PathBuf,
    reason: Mutex<Option<String>>,
}

impl WriteFailure {
    fn note(&self, error: &dyn fmt::Display) {
        let mut reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        if reason.is_none() {
            let path = self.path.display();
            tracing::warn!(%path, %error, "the trajectory cannot be written any further");
            *reason = Some(error.to_string());
        }
    }

    fn clear(&self) {
        if self.reason.lock().unwrap_or_else(PoisonError::into_inner).take().is_some() {
            tracing::info!(path = %self.path.display(), "the trajectory is written again");
        }
    }

    fn reason(&self) -> Option<String> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The lines of a file, and what is still to be written of them.
struct Log {
    out: Box<dyn Out>,
    encoder: Encoder,
    fsync: Fsync,
    /// Bytes of the lines that were written whole.
    whole_bytes: u64,
    /// Whether part of a line follows them.
    is_torn: bool,
    /// Lines that were not written yet.
    pending: String,
}

impl Log {
    /// The log of a file that holds nothing yet.
    fn new(out: impl Out + 'static, fsync: Fsync) -> Self {
        let (encoder, header) = Encoder::new();
        Self { out: Box::new(out), encoder, fsync, whole_bytes: 0, is_torn: false, pending: header }
    }

    /// Adds the lines of a record.
    fn add(&mut self, record: &Record) -> io::Result<()> {
        self.pending.push_str(&self.encoder.encode(record));
        self.write_pending()?;
        let ends_turn = || {
            use Event::{CellFinished, RunFailed, RunFinished};
            matches!(record.event, CellFinished { .. } | RunFinished { .. } | RunFailed { .. })
        };
        match self.fsync {
            Fsync::EachEvent => self.out.sync(),
            Fsync::EachTurn if ends_turn() => self.out.sync(),
            _ => Ok(()),
        }
    }

    /// Writes what is pending behind the last whole line: all of it, or nothing.
    fn write_pending(&mut self) -> io::Result<()> {
        self.cut()?;
        self.is_torn = true;
        self.out.write_all(self.pending.as_bytes())?;
        self.out.flush()?;
        self.is_torn = false;
        self.whole_bytes += self.pending.len() as u64;
        self.pending = String::new();
        Ok(())
    }

    /// Drops a line that is not whole: a crash or a full disk cut it short.
    fn cut(&mut self) -> io::Result<()> {
        if self.is_torn {
            self.out.cut(self.whole_bytes)?;
            self.is_torn = false;
        }
        Ok(())
    }
}

/// The thread: it ends when the writer is dropped and everything is written.
fn write_all(queue: &mpsc::Receiver<Job>, mut log: Log, failure: &WriteFailure) {
    let mut has_ended = false;
    for job in queue {
        match job {
            Job::Write(_) if has_ended => {}
            Job::Write(record) => match log.add(&record) {
                Ok(()) => failure.clear(),
                Err(error) => {
                    failure.note(&error);
                    has_ended = log.cut().is_err();
                }
            },
            Job::Flush(done) => drop(done.send(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults() {
        let config = TrajectoryWriterConfig::default();
        assert_eq!(serde_json::to_string(&config).unwrap(), r#"{"fsync":"never"}"#);
        assert_eq!(serde_json::from_str::<TrajectoryWriterConfig>("{}").unwrap(), config);
    }
}
