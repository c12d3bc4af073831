//! The session of a run, kept in a file beside its record: a run that goes on need not run all its cells
//! again.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use crate::{
    error::{Error, ErrorKind, Result},
    trajectory::hash,
    whole_file::directory_of,
};

/// Where and how often the session of a run is kept, so that a run that goes on need not run all its cells
/// again. Nothing is kept where the backend does not declare [`snapshot`](crate::Capabilities::snapshot).
///
/// The newest snapshot is a file beside the record, with the record's name and `.session-` and the turn
/// behind it. The one before goes when it is written, and the last one when the run has its outputs.
///
/// ```
/// use abyme_core::SessionSnapshots;
/// use std::time::Duration;
///
/// let often = SessionSnapshots::beside("run.jsonl").interval(Duration::from_secs(2));
/// let large = often.max_snapshot_bytes(1 << 30);
/// # let _ = large;
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct SessionSnapshots {
    /// The record of the run. Default `run.jsonl`.
    pub beside: PathBuf,
    /// How much time of cells may have to be spent again. Default 10 s.
    #[serde(with = "crate::seconds")]
    pub interval: Duration,
    /// Largest snapshot that is kept. A larger one is tried again after twice that time. Default 256 MiB.
    pub max_snapshot_bytes: u64,
}

impl Default for SessionSnapshots {
    fn default() -> Self {
        Self { beside: "run.jsonl".into(), interval: Duration::from_secs(10), max_snapshot_bytes: 256 << 20 }
    }
}

impl SessionSnapshots {
    /// Beside this record.
    pub fn beside(record: impl Into<PathBuf>) -> Self {
        Self { beside: record.into(), ..Self::default() }
    }

    /// Sets how much time of cells may have to be spent again.
    pub fn interval(mut self, cell_time: Duration) -> Self {
        self.interval = cell_time;
        self
    }

    /// Sets the largest snapshot that is kept.
    pub fn max_snapshot_bytes(mut self, bytes: u64) -> Self {
        self.max_snapshot_bytes = bytes;
        self
    }
}

/// A snapshot in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SavedSession {
    pub(super) turn: u32,
    /// The name of the file, in the directory of the record.
    pub(super) file: String,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

/// Keeps the sessions of one run.
#[derive(Debug)]
pub(super) struct SessionFiles {
    config: SessionSnapshots,
    /// How much time of cells has to pass until the next one is kept.
    due_after: Duration,
    /// What was spent in cells since the last one was kept.
    spent: Duration,
    has_saved: bool,
}

impl SessionFiles {
    pub(super) fn new(config: SessionSnapshots) -> Self {
        let due_after = config.interval;
        Self { config, due_after, spent: Duration::ZERO, has_saved: false }
    }

    /// Takes note of a cell.
    pub(super) fn spent(&mut self, time: Duration) {
        self.spent = self.spent.saturating_add(time);
    }

    /// Takes note of a session that could not be saved.
    pub(super) fn put_off(&mut self) {
        self.spent = Duration::ZERO;
        self.due_after = self.due_after.saturating_mul(2);
    }

    /// Whether a file was written.
    pub(super) fn has_saved(&self) -> bool {
        self.has_saved
    }

    pub(super) fn is_due(&self) -> bool {
        self.spent > Duration::ZERO && self.spent >= self.due_after
    }

    /// Writes a snapshot that was taken after a turn. None if it is too large, or belongs to no file.
    ///
    /// # Errors
    /// That the file cannot be written.
    pub(super) async fn save(&mut self, turn: u32, snapshot: Vec<u8>) -> Result<Option<SavedSession>> {
        let bytes = snapshot.len() as u64;
        // Beside a device, such as `/dev/null`, nothing is looked for later.
        let is_device = fs::metadata(&self.config.beside).is_ok_and(|status| !status.is_file());
        if bytes > self.config.max_snapshot_bytes || is_device {
            self.put_off();
            return Ok(None);
        }
        let path = suffixed(&self.config.beside, turn);
        let written = path.clone();
        let writing = spawn_blocking(move || {
            let sha256 = hash(&snapshot);
            write(&written, &snapshot).map(|()| sha256)
        });
        let sha256 = match writing.await {
            Ok(Ok(sha256)) => sha256,
            Ok(Err(error)) => {
                self.put_off();
                let message = format!("cannot keep the session in {}: {error}", path.display());
                return Err(Error::new(ErrorKind::Io, message));
            }
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        };
        self.spent = Duration::ZERO;
        self.has_saved = true;
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Some(SavedSession { turn, file, bytes, sha256 }))
    }

    /// Reads a snapshot that the record names. None, and why, where it is not as it was written.
    pub(super) async fn load(&self, saved: &SavedSession) -> Result<Vec<u8>, String> {
        // The record is a file that somebody may have edited: it names no other directory.
        if !is_of(&self.config.beside, &saved.file) {
            return Err(format!("`{}` is no name of a snapshot of this record", saved.file));
        }
        let (path, bytes, sha256) =
            (self.config.beside.with_file_name(&saved.file), saved.bytes, saved.sha256.clone());
        let reading = spawn_blocking(move || {
            let cannot = |error: io::Error| format!("cannot read {}: {error}", path.display());
            let found = fs::metadata(&path).map_err(cannot)?.len();
            let read = if found == bytes { fs::read(&path).map_err(cannot)? } else { Vec::new() };
            match found == bytes && hash(&read) == sha256 {
                true => Ok(read),
                false => Err(format!("{} is not as it was written", path.display())),
            }
        });
        reading.await.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
    }

    /// Removes the snapshots of this record that are not needed any more, also those of a run that wrote a
    /// record of this name before: all but that of `turn`.
    pub(super) async fn remove_others(&self, turn: Option<u32>) {
        let (record, kept) =
            (self.config.beside.clone(), turn.map(|turn| suffixed(&self.config.beside, turn)));
        let removing = spawn_blocking(move || {
            for file in fs::read_dir(directory_of(&record)).into_iter().flatten().flatten() {
                let path = record.with_file_name(file.file_name());
                if is_of(&record, &file.file_name().to_string_lossy())
                    && Some(&path) != kept.as_ref()
                    && let Err(error) = fs::remove_file(&path)
                {
                    tracing::debug!(%error, ?path, "a snapshot that is not needed any more stays");
                }
            }
        });
        removing.await.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()));
    }
}

/// Whether a file is a snapshot of this record, by its name.
fn is_of(record: &Path, file: &str) -> bool {
    let record = record.file_name().unwrap_or_default().to_string_lossy();
    file.strip_prefix(&*record)
        .and_then(|rest| rest.strip_prefix(SUFFIX))
        .is_some_and(|turn| !turn.is_empty() && turn.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What stands between the name of the record and the turn.
const SUFFIX: &str = ".session-";

fn suffixed(record: &Path, turn: u32) -> PathBuf {
    let mut name = record.file_name().unwrap_or_default().to_owned();
    name.push(format!("{SUFFIX}{turn}"));
    record.with_file_name(name)
}

/// Writes a file that is there as a whole or not at all, and that its owner alone may read: it holds inputs.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(directory_of(path))?;
    file.write_all(bytes)?;
    file.persist(path).map(drop).map_err(|error| error.error)
}
