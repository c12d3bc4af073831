//! Trying a failed call again: how often, how long to wait, and when not to.

use std::{future::Future, time::Duration};

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// How a failed call is tried again: only temporary errors, with exponential backoff, half of it at random,
/// and never sooner than the provider's `Retry-After`. A reply that is not a completion
/// ([`MalformedReply`](ErrorKind::MalformedReply)) is tried again once at most, because a provider that does
/// not speak the protocol will not learn it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// Tries after the first one. Default 3.
    pub max_retries: u32,
    /// Pause before the first retry; doubles with each. Default 0.5 s.
    #[serde(with = "crate::seconds")]
    pub initial_backoff: Duration,
    /// Longest pause. If a provider asks for more, its error is returned at once. Default 60 s.
    #[serde(with = "crate::seconds")]
    pub max_backoff: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_retries: 3,
            initial_backoff: Duration::from_millis(500),
            max_backoff: Duration::from_secs(60),
        }
    }
}

impl RetryPolicy {
    /// A policy that never tries again.
    pub fn none() -> Self {
        Self { max_retries: 0, ..Self::default() }
    }

    /// Sets the tries after the first one.
    pub fn max_retries(mut self, retries: u32) -> Self {
        self.max_retries = retries;
        self
    }

    /// Sets the pause before the first retry.
    pub fn initial_backoff(mut self, backoff: Duration) -> Self {
        self.initial_backoff = backoff;
        self
    }

    /// Sets the longest pause.
    pub fn max_backoff(mut self, backoff: Duration) -> Self {
        self.max_backoff = backoff;
        self
    }

    /// Calls `attempt` until it succeeds, fails for good, or the tries are used up. The error is then
    /// [`permanent`](Error::permanent) and says how many tries there were.
    ///
    /// # Errors
    /// The last error of `attempt`.
    pub async fn run<T, F: Future<Output = Result<T>>>(
        &self,
        mut attempt: impl FnMut(u32) -> F,
    ) -> Result<T> {
        let (mut retry, mut malformed) = (0, 0);
        loop {
            let error = match attempt(retry).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            malformed += u32::from(error.kind() == ErrorKind::MalformedReply);
            let backoff = if malformed > 1 { None } else { self.backoff_after(&error, retry) };
            let Some(backoff) = backoff else { return Err(error.with("tries", retry + 1).permanent()) };
            retry += 1;
            tracing::warn!(%error, backoff_seconds = backoff.as_secs_f64(), retry, "trying again");
            tokio::time::sleep(backoff).await;
        }
    }

    /// The pause after the error of try number `retry`; `None` if it is not tried again.
    fn backoff_after(&self, error: &Error, retry: u32) -> Option<Duration> {
        if !error.is_temporary() || retry >= self.max_retries {
            return None;
        }
        let full = self.initial_backoff.saturating_mul(2u32.saturating_pow(retry)).min(self.max_backoff);
        let jittered = full.mul_f64(rand::rng().random_range(0.5..=1.0));
        let backoff = error.retry_after().map_or(jittered, |requested| requested.max(jittered));
        (backoff <= self.max_backoff).then_some(backoff)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    async fn tries(policy: RetryPolicy, kind: ErrorKind) -> u32 {
        let count = AtomicU32::new(0);
        let result: Result<()> = policy
            .run(|_| async {
                count.fetch_add(1, Ordering::Relaxed);
                Err(Error::new(kind, "no"))
            })
            .await;
        assert!(!result.unwrap_err().is_temporary(), "what was given up on is permanent");
        count.into_inner()
    }

    #[tokio::test(start_paused = true)]
    async fn only_temporary_errors_are_tried_again() {
        assert_eq!(tries(RetryPolicy::default(), ErrorKind::Server).await, 4);
        assert_eq!(tries(RetryPolicy::default(), ErrorKind::Auth).await, 1);
        assert_eq!(tries(RetryPolicy::none(), ErrorKind::Server).await, 1);
        assert_eq!(tries(RetryPolicy::default(), ErrorKind::MalformedReply).await, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_backoff_the_provider_asks_for_is_kept_up_to_the_longest() {
        let rate_limited =
            |seconds| ErrorKind::RateLimited { retry_after: Some(Duration::from_secs(seconds)) };
        let start = tokio::time::Instant::now();
        assert_eq!(tries(RetryPolicy::default().max_retries(1), rate_limited(20)).await, 2);
        assert_eq!(start.elapsed(), Duration::from_secs(20));
        assert_eq!(tries(RetryPolicy::default(), rate_limited(86_400)).await, 1);
    }

    #[test]
    fn defaults_are_pinned() {
        let json = serde_json::to_value(RetryPolicy::default()).unwrap();
        assert_eq!(json, serde_json::json!({"max_retries": 3, "initial_backoff": 0.5, "max_backoff": 60.0}));
    }
}
