//! The steps of preparing the interpreter, which takes some seconds, once on a machine.

use std::{fmt, time::Duration};

use abyme_driver::Progress;

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

impl Progress for PrepareProgress {
    fn is_problem(&self) -> bool {
        matches!(self, PrepareProgress::NotKept(_))
    }
}

pub(crate) type Reporter = abyme_driver::Reporter<PrepareProgress>;
