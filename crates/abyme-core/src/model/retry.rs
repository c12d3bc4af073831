//! Trying a failed call again: how often, how long to wait, and when not to.

use std::{future::Future, time::Duration};

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// How a failed call is tried again.
///
/// Only temporary errors are. Where the provider says how long to wait, that is the pause. Where it does not,
/// pauses grow exponentially, half of each at random, until they add up to
/// [`max_total_backoff`](Self::max_total_backoff): about a minute, which is how long most rate limits last,
/// and a model takes to load. A call that ran into its time limit and a connection that failed are tried
/// again 3 times at most, a reply that is not a completion
/// ([`MalformedReply`](ErrorKind::MalformedReply)) once: a provider that does not speak the protocol will not
/// learn it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// Most tries after the first one. Default 12.
    pub max_retries: u32,
    /// Pause before the first retry; doubles with each. Default 0.5 s.
    #[serde(with = "crate::seconds")]
    pub initial_backoff: Duration,
    /// Longest pause where the provider names none. Default 20 s.
    #[serde(with = "crate::seconds")]
    pub max_backoff: Duration,
    /// How long the pauses of one call may last together where the provider names none. Default 60 s.
    #[serde(with = "crate::seconds")]
    pub max_total_backoff: Duration,
    /// Longest pause that a provider may ask for. If it asks for more, its error is returned at once.
    /// Default 900 s.
    #[serde(with = "crate::seconds")]
    pub max_requested_backoff: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_retries: 12,
            initial_backoff: Duration::from_millis(500),
            max_backoff: Duration::from_secs(20),
            max_total_backoff: Duration::from_secs(60),
            max_requested_backoff: Duration::from_secs(900),
        }
    }
}

impl RetryPolicy {
    /// A policy that never tries again.
    pub fn none() -> Self {
        Self { max_retries: 0, ..Self::default() }
    }

    /// Sets the most tries after the first one.
    pub fn max_retries(mut self, retries: u32) -> Self {
        self.max_retries = retries;
        self
    }

    /// Sets the pause before the first retry.
    pub fn initial_backoff(mut self, backoff: Duration) -> Self {
        self.initial_backoff = backoff;
        self
    }

    /// Sets the longest pause where the provider names none.
    pub fn max_backoff(mut self, backoff: Duration) -> Self {
        self.max_backoff = backoff;
        self
    }

    /// Sets how long the pauses of one call may last together where the provider names none.
    pub fn max_total_backoff(mut self, backoff: Duration) -> Self {
        self.max_total_backoff = backoff;
        self
    }

    /// Sets the longest pause that a provider may ask for.
    pub fn max_requested_backoff(mut self, backoff: Duration) -> Self {
        self.max_requested_backoff = backoff;
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
        let mut retries = Retries::new(self);
        loop {
            let error = match attempt(retries.failures).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let Some(backoff) = retries.backoff_after(&error) else {
                return Err(retries.give_up(error));
            };
            tracing::warn!(%error, backoff_seconds = backoff.as_secs_f64(), "trying again");
            tokio::time::sleep(backoff).await;
        }
    }
}

/// The failures of one call so far, by which its policy decides about the next try.
#[derive(Debug)]
pub(crate) struct Retries<'a> {
    policy: &'a RetryPolicy,
    failures: u32,
    malformed: u32,
    slow: u32,
    waited: Duration,
}

impl<'a> Retries<'a> {
    pub(crate) fn new(policy: &'a RetryPolicy) -> Self {
        Self { policy, failures: 0, malformed: 0, slow: 0, waited: Duration::ZERO }
    }

    /// Counts a failed try. The pause before the next one; `None` if there is none.
    pub(crate) fn backoff_after(&mut self, error: &Error) -> Option<Duration> {
        let policy = self.policy;
        let kind = error.kind();
        self.malformed += u32::from(kind == ErrorKind::MalformedReply);
        self.slow += u32::from(matches!(kind, ErrorKind::ModelTimeout | ErrorKind::Connection));
        let doublings = 2u32.saturating_pow(self.failures);
        self.failures += 1;
        let is_over = self.failures > policy.max_retries || self.malformed > 1 || self.slow > MAX_SLOW;
        if !error.is_temporary() || is_over {
            return None;
        }
        let full = policy.initial_backoff.saturating_mul(doublings).min(policy.max_backoff);
        let jittered = full.mul_f64(rand::rng().random_range(0.5..=1.0));
        match error.retry_after() {
            Some(requested) if requested > policy.max_requested_backoff => None,
            Some(requested) => Some(requested.max(jittered)),
            None if self.waited >= policy.max_total_backoff => None,
            None => {
                self.waited += jittered;
                Some(jittered)
            }
        }
    }

    /// The error of a call that is not tried again.
    pub(crate) fn give_up(&self, error: Error) -> Error {
        error.with("tries", self.failures).permanent()
    }
}

/// Retries of what takes long to fail.
const MAX_SLOW: u32 = 3;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::time::Instant;

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
        let three = || RetryPolicy::default().max_retries(3);
        assert_eq!(tries(three(), ErrorKind::Server).await, 4);
        assert_eq!(tries(RetryPolicy::default(), ErrorKind::Auth).await, 1);
        assert_eq!(tries(RetryPolicy::none(), ErrorKind::Server).await, 1);
        assert_eq!(tries(RetryPolicy::default(), ErrorKind::MalformedReply).await, 2);
        assert_eq!(tries(RetryPolicy::default(), ErrorKind::ModelTimeout).await, 4);
        assert_eq!(tries(RetryPolicy::default(), ErrorKind::Connection).await, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_hint_it_is_tried_for_a_minute() {
        for kind in [ErrorKind::RateLimited { retry_after: None }, ErrorKind::Server] {
            let start = Instant::now();
            let tries = tries(RetryPolicy::default(), kind).await;
            let seconds = start.elapsed().as_secs_f64();
            assert!((60.0..=80.0).contains(&seconds), "{seconds}");
            assert!((7..=12).contains(&tries), "{tries}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_backoff_the_provider_asks_for_is_kept_up_to_the_longest() {
        let rate_limited =
            |seconds| ErrorKind::RateLimited { retry_after: Some(Duration::from_secs(seconds)) };
        let start = Instant::now();
        assert_eq!(tries(RetryPolicy::default().max_retries(2), rate_limited(90)).await, 3);
        assert_eq!(start.elapsed(), Duration::from_secs(180));
        assert_eq!(tries(RetryPolicy::default(), rate_limited(86_400)).await, 1);
    }

    #[test]
    fn defaults_are_pinned() {
        let json = serde_json::to_value(RetryPolicy::default()).unwrap();
        let expected = serde_json::json!({
            "max_retries": 12, "initial_backoff": 0.5, "max_backoff": 20.0, "max_total_backoff": 60.0,
            "max_requested_backoff": 900.0,
        });
        assert_eq!(json, expected);
    }
}
