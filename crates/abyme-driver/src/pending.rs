//! Counts work that has begun and not ended, so that others can wait for its end.

use std::sync::Arc;

use tokio::sync::watch;

/// A count of pending work. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Pending(Arc<watch::Sender<usize>>);

impl Pending {
    /// Counts one piece of work until the guard is dropped.
    pub fn begin(&self) -> PendingGuard {
        self.0.send_modify(|count| *count += 1);
        PendingGuard(self.clone())
    }

    /// Whether no work is pending.
    pub fn is_none(&self) -> bool {
        *self.0.borrow() == 0
    }

    /// Waits until no work is pending.
    pub async fn settled(&self) {
        // The sender lives as long as `self`, so this does not fail.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }
}

/// One piece of pending work.
#[derive(Debug)]
pub struct PendingGuard(Pending);

impl Drop for PendingGuard {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn all_work_is_waited_for() {
        let pending = Pending::default();
        pending.settled().await;
        let (one, other) = (pending.begin(), pending.begin());
        let waiting = tokio::spawn({
            let pending = pending.clone();
            async move { pending.settled().await }
        });
        drop(one);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!waiting.is_finished() && !pending.is_none());
        drop(other);
        waiting.await.unwrap();
        assert!(pending.is_none());
    }
}
