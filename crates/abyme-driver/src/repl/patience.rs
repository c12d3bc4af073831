//! How long a cell may go on: interrupted at its time limit and once more, then ended.

use std::time::Duration;

use abyme_core::{HostCall, HostError, HostFunctions, Result, Value};
use async_trait::async_trait;
use tokio::time::Instant;

/// Stands for "no limit": longer than any process lives.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// When to interrupt a cell, and when to give up on it (contract clause C10).
#[derive(Debug)]
pub struct Patience {
    next: Instant,
    grace: Duration,
    interrupts: u32,
}

impl Patience {
    /// For a cell that must end at `limit`, and may go on for `grace` after it was interrupted.
    pub fn new(limit: Option<Instant>, grace: Duration) -> Self {
        Self { next: limit.unwrap_or_else(|| Instant::now() + FOREVER), grace, interrupts: 0 }
    }

    /// When to call [`up`](Self::up).
    pub fn next(&self) -> Instant {
        self.next
    }

    /// The time has come: whether to interrupt the cell, at its limit and once more half-way through the grace. Else it
    /// has to be ended.
    pub fn up(&mut self) -> bool {
        if self.interrupts == 2 {
            return false;
        }
        self.interrupts += 1;
        let now = Instant::now();
        self.next = now.checked_add(self.grace / 2).unwrap_or(now + FOREVER);
        true
    }

    /// Whether the cell has been interrupted.
    pub fn interrupted(&self) -> bool {
        self.interrupts > 0
    }
}

/// Answers the calls of a cell that nobody waits for any more, because its future was dropped (C13).
#[derive(Clone, Copy, Debug)]
pub struct Cancelled;

#[async_trait]
impl HostFunctions for Cancelled {
    async fn call(&self, _: HostCall) -> Result<Value, HostError> {
        Err(HostError::new("KeyboardInterrupt", "the cell was cancelled"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn two_interrupts_then_the_end() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut patience = Patience::new(Some(start + second), second);
        assert_eq!((patience.next(), patience.interrupted()), (start + second, false));
        tokio::time::advance(second).await;
        assert!(patience.up());
        assert_eq!((patience.next(), patience.interrupted()), (start + second * 3 / 2, true));
        tokio::time::advance(second / 2).await;
        assert!(patience.up());
        assert_eq!(patience.next(), start + second * 2);
        assert!(!patience.up());
    }
}
