//! So many a minute, evenly spread: a bucket that calls take from and that time fills.

use std::time::Duration;

use tokio::time::Instant;

/// The part of a limit that is used: a server's clock and the way to it are not exact.
const SHARE: f64 = 0.99;
/// The part of a limit that may go out at once. With [`SHARE`] it adds up to the limit, so that no 60 s hold
/// more than that, wherever a server begins to count.
const BURST: f64 = 1.0 - SHARE;
/// The least that a refused rate falls to.
const LEAST_PER_MINUTE: f64 = 1.0;
/// The most that a rate rises to which was found out by a refusal.
const MOST_PER_MINUTE: f64 = 1e6;
/// What a ramp begins with.
const RAMP_START: f64 = 0.1;

/// A rate that calls keep to.
#[derive(Debug)]
pub(super) struct Pace {
    /// What the rate may rise to, where that is known.
    most: Option<f64>,
    per_minute: f64,
    /// How much the rate rises in a second, at a ramp.
    rise: f64,
    /// How the rate rises after a refusal.
    recovery: Option<Recovery>,
    /// What may go out now; below 0 what went out too early.
    level: f64,
    at: Instant,
}

/// How a rate rises that was too high.
#[derive(Debug)]
struct Recovery {
    /// What was too much.
    refused: f64,
    seconds: f64,
}

impl Pace {
    /// A pace of `most` a minute, which is reached after `ramp`.
    pub(super) fn of(most: f64, ramp: Duration, now: Instant) -> Self {
        let mut pace =
            Self { most: Some(most), per_minute: most, rise: 0.0, recovery: None, level: 0.0, at: now };
        pace.ramp(ramp);
        pace.level = pace.burst();
        pace
    }

    /// A pace that was found out by a refusal, and may rise again without an end.
    pub(super) fn guessed(per_minute: f64, now: Instant) -> Self {
        Self { most: None, per_minute, rise: 0.0, recovery: None, level: 0.0, at: now }
    }

    /// Whether it was given, and not found out.
    pub(super) fn is_given(&self) -> bool {
        self.most.is_some()
    }

    /// Begins a ramp anew.
    pub(super) fn ramp(&mut self, ramp: Duration) {
        if let Some(most) = self.most.filter(|_| !ramp.is_zero()) {
            self.per_minute = most * RAMP_START;
            self.recovery = None;
            self.rise = most * (1.0 - RAMP_START) / ramp.as_secs_f64();
        }
    }

    /// Halves the rate, or what was `used` of it: a rate that was given may be far above what a provider
    /// takes. It rises again, to what it was within half of `recovery`.
    pub(super) fn refused(&mut self, used: f64, recovery: Duration, now: Instant) {
        self.fill(now);
        let refused = self.per_minute.min(used);
        self.recovery = Some(Recovery { refused, seconds: recovery.as_secs_f64().max(1.0) });
        self.per_minute = (refused / 2.0).max(LEAST_PER_MINUTE);
        self.level = self.level.min(0.0);
    }

    /// When so much may go out.
    pub(super) fn ready(&mut self, cost: f64, now: Instant) -> Instant {
        self.fill(now);
        let missing = cost.min(self.burst()) - self.level;
        // A hair of rounding is not worth another wait.
        if missing <= 1e-6 {
            return now;
        }
        // As long as it takes at least: the rate may be higher by then.
        let seconds = missing * 60.0 / (self.per_minute * SHARE);
        now + Duration::from_secs_f64(seconds.min(60.0)).max(Duration::from_millis(1))
    }

    /// Takes so much; gives it back if it is below 0.
    pub(super) fn take(&mut self, cost: f64) {
        self.level = (self.level - cost).min(self.burst());
    }

    fn burst(&self) -> f64 {
        (self.per_minute * BURST).ceil().max(1.0)
    }

    fn fill(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        let rise = match &self.recovery {
            Some(recovery) => self.per_minute.max(recovery.refused) / recovery.seconds,
            None => self.rise,
        };
        let risen = self.per_minute + rise * seconds;
        let risen = risen.min(self.most.unwrap_or(MOST_PER_MINUTE).max(self.per_minute));
        let filled = (self.per_minute + risen) / 2.0 * SHARE / 60.0 * seconds;
        self.per_minute = risen;
        self.level = (self.level + filled).min(self.burst());
    }
}
