//! What is done although the future that would do it was dropped, or ends before its work is done.

use std::pin::Pin;

use crate::error::{Error, ErrorKind, Result};

/// Calls a closure when it is dropped, unless it was disarmed before.
pub(super) struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> OnDrop<F> {
    pub(super) fn new(then: F) -> Self {
        Self(Some(then))
    }

    /// Drops the closure without calling it.
    pub(super) fn disarm(mut self) {
        self.0 = None;
    }
}

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(then) = self.0.take() {
            then();
        }
    }
}

/// Waits for `work`, unless the run is cancelled first: that drops the work.
pub(super) async fn unless<T>(
    cancelled: Pin<&mut impl Future<Output = ()>>,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::select! {
        biased;
        () = cancelled => {
            Err(Error::new(ErrorKind::Cancelled, "the run was cancelled").operation("Rlm::run"))
        }
        done = work => done,
    }
}
