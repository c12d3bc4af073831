//! A trajectory on disk, written as it happens.

use std::{
    fmt, fs,
    io::Write,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use super::{EventSink, Record};
use crate::{Error, ErrorKind, Result};

/// Writes each event of a run to a file as it happens: one line of JSON, one write, so that a crash costs at most the
/// event in progress.
///
/// A disk that fills up costs one warning, not the run: the file ends after its last whole line, and
/// [`failure`](Self::failure) says why.
pub struct TrajectoryWriter {
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    out: Box<dyn Write + Send>,
    failure: Option<String>,
}

impl fmt::Debug for TrajectoryWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrajectoryWriter").field("path", &self.path).finish_non_exhaustive()
    }
}

impl TrajectoryWriter {
    /// Writes to a new file, replacing one of that name.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] with the path.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = fs::File::create(path).map_err(|error| {
            Error::new(ErrorKind::Io, format!("cannot write the trajectory to {}: {error}", path.display()))
                .with_source(error)
        })?;
        Ok(Self::to_writer(path, file))
    }

    /// Writes to anything; `name` is for messages.
    pub fn to_writer(name: impl Into<PathBuf>, out: impl Write + Send + 'static) -> Self {
        Self { path: name.into(), state: Mutex::new(State { out: Box::new(out), failure: None }) }
    }

    /// Why writing stopped before the run's end, if it did.
    pub fn failure(&self) -> Option<String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).failure.clone()
    }
}

impl EventSink for TrajectoryWriter {
    fn record(&self, record: &Record) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.failure.is_some() {
            return;
        }
        let written = state.out.write_all(record.to_line().as_bytes()).and_then(|()| state.out.flush());
        if let Err(error) = written {
            tracing::warn!(path = %self.path.display(), %error, "the trajectory cannot be written any further");
            state.failure = Some(error.to_string());
        }
    }
}
