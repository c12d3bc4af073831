//! The tokio runtime that a session or a run needs around it, and what has to run beside it.

use std::panic::resume_unwind;

use tokio::{
    runtime::{Handle, Id},
    task::spawn_blocking,
};

use crate::error::{Error, ErrorKind, Result};

/// The tokio runtime on which something was started. Streams and processes are served by the runtime that
/// opened them: on another one their reads would wait for ever, and they end with their runtime.
///
/// ```
/// use abyme_core::runtime::HomeRuntime;
///
/// let error = HomeRuntime::current().unwrap_err();
/// assert!(error.message().starts_with("there is no tokio runtime here"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HomeRuntime(Id);

impl HomeRuntime {
    /// The runtime that this code runs on.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] outside of a tokio runtime.
    pub fn current() -> Result<Self> {
        Handle::try_current().map(|handle| Self(handle.id())).map_err(|_| {
            Error::new(
                ErrorKind::Config,
                "there is no tokio runtime here: call this from `#[tokio::main]`, `#[tokio::test]`, or a \
                 runtime's `block_on`",
            )
        })
    }

    /// Whether this code runs on that runtime.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] on another runtime, or outside of any.
    pub fn check(self) -> Result<()> {
        match Self::current()? == self {
            true => Ok(()),
            false => Err(Error::new(
                ErrorKind::Config,
                "this session was started on another tokio runtime and can only be used there; open a \
                 session on this one (each `#[tokio::test]` and each `#[tokio::main]` has a runtime of its \
                 own)",
            )),
        }
    }
}

/// Runs a function on a thread that may block. Its panic is the caller's. `None` if the program is shutting
/// down, and the function was not called.
pub(crate) async fn off_the_runtime<T: Send + 'static>(
    function: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    if Handle::try_current().is_err() {
        // Without tokio there is nothing else that could go on.
        return Some(function());
    }
    let span = tracing::Span::current();
    match spawn_blocking(move || span.in_scope(function)).await {
        Ok(result) => Some(result),
        Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_runtime_is_told_from_ones_own() {
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (first, second) = (runtime(), runtime());
        let home = first.block_on(async { HomeRuntime::current() }).unwrap();
        first.block_on(async { home.check() }).unwrap();
        let error = second.block_on(async { home.check() }).unwrap_err();
        assert!(error.message().contains("another tokio runtime"), "{error}");
        assert!(home.check().unwrap_err().message().contains("no tokio runtime"));
    }
}
