//! What has to be done although the future that would do it was dropped.

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
