//! What a provider says is left.

use std::time::Duration;

use tokio::time::Instant;

use crate::model::rate_limit::RateLimit;

/// What limits are for, as a rule.
const PERIOD: Duration = Duration::from_secs(60);

/// What is left of one limit of a provider, as it said it last.
#[derive(Debug)]
pub(super) struct ReportedLimit {
    limit: Option<f64>,
    left: f64,
    /// When all of it is there again.
    reset: Option<Instant>,
}

impl ReportedLimit {
    /// What a reply says, in whose provider's count `since` is still missing: what went out after it.
    pub(super) fn by(limit: &RateLimit, since: f64, now: Instant) -> Option<Self> {
        let left = limit.remaining? as f64 - since;
        let reset = limit.reset_after.and_then(|after| now.checked_add(after));
        Some(Self { limit: limit.limit.map(|limit| limit as f64), left, reset })
    }

    /// When so much may go out. `None`: nobody knows, so now.
    pub(super) fn ready(&mut self, cost: f64, now: Instant) -> Option<Instant> {
        let reset = self.reset?;
        if now >= reset {
            self.left = self.limit?;
            // Until a reply says it better.
            self.reset = now.checked_add(PERIOD);
        }
        let enough = self.limit.map_or(cost, |limit| cost.min(limit));
        Some(if self.left >= enough { now } else { reset.max(now + Duration::from_millis(1)) })
    }

    pub(super) fn take(&mut self, cost: f64) {
        self.left -= cost;
    }
}
