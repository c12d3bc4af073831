//! The steps of preparing the interpreter, which takes some seconds, once on a machine.

use std::{fmt, sync::Arc, time::Duration};

/// A step of preparing the interpreter.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PrepareProgress {
    /// Another process prepares it right now; this one waits for it.
    Waiting,
    /// CPython is compiled, so that it can be started.
    Compiling,
    /// CPython starts and imports its modules.
    Initialising,
    /// The base image is compiled.
    CompilingImage,
    /// It is ready, after this time.
    Ready(Duration),
    /// It works, but cannot be kept for the next process; the text says why.
    NotKept(String),
}

impl fmt::Display for PrepareProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PrepareProgress::Waiting => f.write_str("waiting for another process that prepares Python"),
            PrepareProgress::Compiling => f.write_str("preparing Python, once on this machine: compiling"),
            PrepareProgress::Initialising => {
                f.write_str("preparing Python, once on this machine: starting it")
            }
            PrepareProgress::CompilingImage => {
                f.write_str("preparing Python, once on this machine: compiling the base image")
            }
            PrepareProgress::Ready(time) => write!(f, "Python is ready, after {:.1} s", time.as_secs_f64()),
            PrepareProgress::NotKept(why) => {
                write!(f, "the prepared Python cannot be kept for the next time: {why}")
            }
        }
    }
}

/// Where progress is reported: to a function of the caller, or without one to the log.
#[derive(Clone, Default)]
pub(crate) struct Reporter(Option<Arc<dyn Fn(PrepareProgress) + Send + Sync>>);

impl Reporter {
    pub(crate) fn new(report: impl Fn(PrepareProgress) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(report)))
    }

    pub(crate) fn report(&self, progress: PrepareProgress) {
        match (&self.0, &progress) {
            (Some(report), _) => report(progress),
            (None, PrepareProgress::NotKept(_)) => tracing::warn!("{progress}"),
            (None, _) => tracing::info!("{progress}"),
        }
    }
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Reporter(..)" } else { "Reporter(None)" })
    }
}
