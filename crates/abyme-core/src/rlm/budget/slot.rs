//! The slot of a child run among those at work.
//!
//! A run that waits for children of its own lends its slot to them. So children of children come to their
//! end however few slots there are, and no more sessions are alive than slots times the depth of the tree.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The slot of one child run.
#[derive(Debug)]
pub(super) struct Slot {
    /// The slots of the tree.
    slots: Arc<Semaphore>,
    /// The slot of the run that started it, while that lends it.
    of_parent: Option<Arc<Semaphore>>,
    /// This slot, while it is lent: one permit.
    lent: Arc<Semaphore>,
    state: Mutex<SlotState>,
    /// Held by the call that takes the slot: a cell may make many at once.
    taking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct SlotState {
    permit: Option<OwnedSemaphorePermit>,
    is_lent: bool,
    /// Calls of the run's cell that wait for children.
    waiting: usize,
}

impl Slot {
    /// For a child of a run that has this slot, or of the root, which needs none.
    pub(super) fn new(slots: Arc<Semaphore>, of_parent: Option<&Slot>) -> Self {
        Self {
            slots,
            of_parent: of_parent.map(|parent| parent.lent.clone()),
            lent: Arc::new(Semaphore::new(0)),
            state: Mutex::default(),
            taking: tokio::sync::Mutex::default(),
        }
    }

    /// Waits until the run may be at work, unless it waits for its children.
    pub(super) async fn take(&self) {
        let _taking = self.taking.lock().await;
        let (has_slot, is_lent) = {
            let state = self.state();
            if state.waiting > 0 {
                return;
            }
            (state.permit.is_some(), state.is_lent)
        };
        if !has_slot {
            let permit = self.free_slot().await;
            self.state().permit = permit;
        } else if is_lent {
            if let Ok(permit) = self.lent.acquire().await {
                permit.forget();
            }
            self.state().is_lent = false;
        }
    }

    /// The slot that the parent lends, or any other. The semaphores are never closed; a closed one would
    /// only mean that nothing is limited.
    async fn free_slot(&self) -> Option<OwnedSemaphorePermit> {
        let any = self.slots.clone().acquire_owned();
        match &self.of_parent {
            None => any.await.ok(),
            Some(lent) => tokio::select! {
                biased;
                permit = lent.clone().acquire_owned() => permit.ok(),
                permit = any => permit.ok(),
            },
        }
    }

    /// Lends the slot to the run's children until the returned guard is dropped. After that,
    /// [`take`](Self::take) it back.
    pub(super) fn lend(&self) -> SlotLoan<'_> {
        let mut state = self.state();
        state.waiting += 1;
        if state.permit.is_some() && !state.is_lent {
            state.is_lent = true;
            self.lent.add_permits(1);
        }
        SlotLoan(self)
    }

    fn state(&self) -> MutexGuard<'_, SlotState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// While it is there, its run waits for children.
pub(in crate::rlm) struct SlotLoan<'a>(&'a Slot);

impl Drop for SlotLoan<'_> {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_run_that_waits_lends_its_slot_to_its_children() {
        let slots = Arc::new(Semaphore::new(1));
        let slot = |parent: Option<&Slot>| Slot::new(slots.clone(), parent);
        let (parent, stranger) = (slot(None), slot(None));
        let (child, sibling) = (slot(Some(&parent)), slot(Some(&parent)));
        let takes = |slot: &Slot| slot.take().now_or_never().is_some();
        assert!(takes(&parent) && takes(&parent), "the slot is free, and then the parent's");
        assert!(!takes(&child) && !takes(&stranger), "there is one slot");
        let (first, second) = (parent.lend(), parent.lend());
        assert!(!takes(&stranger), "the slot is lent to children, not to others");
        assert!(takes(&child) && !takes(&sibling), "to one at a time");
        drop(first);
        assert!(takes(&parent), "the parent still waits for a second child, and needs no slot");
        drop(second);
        assert!(!takes(&parent), "the child is at work");
        drop(child);
        assert!(takes(&parent) && !takes(&sibling), "the child is done");
        drop(parent);
        assert!(takes(&stranger));
    }
}
