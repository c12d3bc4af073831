//! What a rate limiter keeps to.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a [`RateLimiter`](crate::RateLimiter) keeps to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct RateLimiterConfig {
    /// Most requests in any 60 s, evenly spread: one hundredth of them at once. Default: what the provider
    /// says, if it says anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
    /// Most tokens a minute, of requests and replies together: estimated before a call, corrected after it.
    /// Default: what the provider says, if it says anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<u64>,
    /// Whether to keep to what the provider says with each reply of what is left
    /// ([`RateLimits`](crate::RateLimits)), besides the above. Default true.
    pub learns: bool,
    /// How many calls may be in flight as long as nothing is known of the provider's limits: so many at
    /// first, and one more with each that is answered. `None`: any number, until a refusal (429) or what a
    /// reply says teaches a limit. Default 8.
    pub first_calls: Option<usize>,
    /// How long the rate takes from a tenth of what is given above to the whole, at the start and after as
    /// long without a call: for a provider that limits how fast its use may rise. Default 0: at once.
    #[serde(with = "crate::seconds")]
    pub ramp_interval: Duration,
    /// How long the rate takes from nothing to what was used when a refusal (429) came, which halves it.
    /// Above that it rises by as large a part of itself. Default 120 s.
    #[serde(with = "crate::seconds")]
    pub recovery_interval: Duration,
    /// Longest pause of all calls after refusals where the provider names none; the first is a second, and
    /// each in a row doubles it. Default 20 s.
    #[serde(with = "crate::seconds")]
    pub max_backoff: Duration,
    /// Longest pause that is waited for where the provider names it. Where it names a longer one, calls go
    /// out and fail as it says. Default 900 s.
    #[serde(with = "crate::seconds")]
    pub max_requested_backoff: Duration,
}

impl Default for RateLimiterConfig {
    fn default() -> Self {
        Self {
            requests_per_minute: None,
            tokens_per_minute: None,
            learns: true,
            first_calls: Some(8),
            ramp_interval: Duration::ZERO,
            recovery_interval: Duration::from_secs(120),
            max_backoff: Duration::from_secs(20),
            max_requested_backoff: Duration::from_secs(900),
        }
    }
}

impl RateLimiterConfig {
    /// Sets the most requests a minute.
    pub fn requests_per_minute(mut self, requests: impl Into<Option<u32>>) -> Self {
        self.requests_per_minute = requests.into();
        self
    }

    /// Sets the most tokens a minute.
    pub fn tokens_per_minute(mut self, tokens: impl Into<Option<u64>>) -> Self {
        self.tokens_per_minute = tokens.into();
        self
    }

    /// Sets whether to keep to what the provider says is left.
    pub fn learns(mut self, learns: bool) -> Self {
        self.learns = learns;
        self
    }

    /// Sets how many calls may be in flight as long as nothing is known.
    pub fn first_calls(mut self, calls: impl Into<Option<usize>>) -> Self {
        self.first_calls = calls.into();
        self
    }

    /// Sets how long the rate takes to rise at the start.
    pub fn ramp_interval(mut self, ramp_interval: Duration) -> Self {
        self.ramp_interval = ramp_interval;
        self
    }

    /// Sets how long the rate takes to rise after a refusal.
    pub fn recovery_interval(mut self, recovery_interval: Duration) -> Self {
        self.recovery_interval = recovery_interval;
        self
    }

    /// Sets the longest pause where the provider names none.
    pub fn max_backoff(mut self, backoff: Duration) -> Self {
        self.max_backoff = backoff;
        self
    }

    /// Sets the longest pause that is waited for where the provider names it.
    pub fn max_requested_backoff(mut self, backoff: Duration) -> Self {
        self.max_requested_backoff = backoff;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_pinned() {
        let json = serde_json::to_value(RateLimiterConfig::default()).unwrap();
        let expected = serde_json::json!({
            "learns": true, "first_calls": 8, "ramp_interval": 0.0, "recovery_interval": 120.0,
            "max_backoff": 20.0, "max_requested_backoff": 900.0,
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn any_number_of_first_calls_survives_serde() {
        let json = serde_json::to_value(RateLimiterConfig::default().first_calls(None)).unwrap();
        assert_eq!(serde_json::from_value::<RateLimiterConfig>(json).unwrap().first_calls, None);
    }
}
