//! The place of a child run among those at work.
//!
//! A run that waits for children of its own gives its place to them, so that children of children come to
//! their end however few places there are.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The place of one child run.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    permit: Option<OwnedSemaphorePermit>,
    /// Calls of the run's cell that wait for children.
    waiting: usize,
}

impl Place {
    pub(super) fn new(places: Arc<Semaphore>) -> Self {
        Self { places, state: Mutex::default() }
    }

    /// Waits until the run has a place, unless it has one or waits for its children.
    pub(super) async fn take(&self) {
        let is_idle = {
            let state = self.state();
            state.permit.is_none() && state.waiting == 0
        };
        if is_idle {
            // The semaphore is never closed; a closed one would only mean that nothing is limited.
            let permit = self.places.clone().acquire_owned().await.ok();
            self.state().permit = permit;
        }
    }

    /// Gives the place back until the returned guard is dropped. After that, [`take`](Self::take) it again.
    pub(super) fn give_up(&self) -> Absence<'_> {
        let mut state = self.state();
        state.waiting += 1;
        state.permit = None;
        Absence(self)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// While it is there, its run waits for children.
pub(in crate::rlm) struct Absence<'a>(&'a Place);

impl Drop for Absence<'_> {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_run_that_waits_gives_its_place_to_another() {
        let places = Arc::new(Semaphore::new(1));
        let (parent, child) = (Place::new(places.clone()), Place::new(places));
        parent.take().now_or_never().expect("the place is free");
        assert!(child.take().now_or_never().is_none(), "there is one place");
        let (first, second) = (parent.give_up(), parent.give_up());
        child.take().now_or_never().expect("the parent has given up its place");
        drop(first);
        parent.take().now_or_never().expect("the parent still waits for a second child");
        drop(second);
        assert!(parent.take().now_or_never().is_none(), "the child has the place");
        drop(child);
        parent.take().now_or_never().expect("the child is done");
    }
}
