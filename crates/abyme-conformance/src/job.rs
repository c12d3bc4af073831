//! A case with all that it needs to run, whatever it examines.

use std::{fmt, pin::Pin, time::Duration};

/// The future of a case. It may borrow what the case examines.
pub(crate) type CaseFuture<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// A case with all that it needs to run.
pub(crate) struct Job {
    pub(crate) name: &'static str,
    pub(crate) doc: &'static str,
    /// Who is examined.
    pub(crate) of: String,
    /// What the case needs, and its subject does not have.
    pub(crate) lacks: Option<String>,
    /// Whether nothing else may run meanwhile.
    pub(crate) is_alone: bool,
    pub(crate) limit: Duration,
    pub(crate) run: Box<dyn Fn() -> CaseFuture<'static> + Send + Sync>,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Job {
    /// Whether `name` means this case.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        is_name_of(name, self.name)
    }
}

/// Whether `name` means the case `full`: the full name, or what follows `::`.
pub(crate) fn is_name_of(name: &str, full: &str) -> bool {
    full == name || full.rsplit("::").next() == Some(name)
}
