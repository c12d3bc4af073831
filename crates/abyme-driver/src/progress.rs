//! Where a backend reports the steps of work that takes long.

use std::{fmt, sync::Arc};

/// A step of work that takes long, in words for people.
pub trait Progress: fmt::Display {
    /// Whether it tells of a problem. False by default.
    fn is_problem(&self) -> bool {
        false
    }
}

/// Reports progress to a function of the caller, or without one to the log. Clones report to the same one.
pub struct Reporter<P>(Option<Arc<dyn Fn(P) + Send + Sync>>);

impl<P: Progress> Reporter<P> {
    /// Reports to a function.
    pub fn new(report: impl Fn(P) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(report)))
    }

    /// Reports a step.
    pub fn report(&self, progress: P) {
        match &self.0 {
            Some(report) => report(progress),
            None if progress.is_problem() => tracing::warn!("{progress}"),
            None => tracing::info!("{progress}"),
        }
    }
}

impl<P> Clone for Reporter<P> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<P> Default for Reporter<P> {
    fn default() -> Self {
        Self(None)
    }
}

impl<P> fmt::Debug for Reporter<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Reporter(..)" } else { "Reporter(None)" })
    }
}
