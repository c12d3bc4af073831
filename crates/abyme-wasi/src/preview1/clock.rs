//! The clocks of a guest: the host's, or ones that only the guest itself advances.

use std::time::{Duration, Instant};

use crate::fs::{Errno, nanoseconds, now};

/// The start of a new guest's monotonic clock. It does not tell when the host was started.
const START: Duration = Duration::from_secs(1);
/// What a clock that the guest advances goes on by each time it is read, in nanoseconds.
const TICK: u64 = 1_000;

/// The monotonic clock, which also serves as the clocks of processor time although it counts waiting too, and
/// the time of day.
#[derive(Clone, Debug)]
pub(super) enum Clock {
    Host {
        origin: Instant,
        /// The monotonic time at `origin`.
        at_origin: Duration,
    },
    /// Goes on when it is read and when the guest sleeps, so that the same program sees the same times.
    Fixed {
        /// The time of day at monotonic time 0, in nanoseconds since 1970.
        day: u64,
        monotonic: u64,
    },
}

impl Clock {
    pub(super) fn new() -> Self {
        Self::Host { origin: Instant::now(), at_origin: START }
    }

    /// Begins anew, as one that only the guest advances; the time of day begins with `day`.
    pub(super) fn fix(&mut self, day: Duration) {
        let monotonic = nanoseconds(START);
        *self = Self::Fixed { day: nanoseconds(day).saturating_sub(monotonic), monotonic };
    }

    /// The monotonic time in nanoseconds.
    pub(super) fn monotonic(&self) -> u64 {
        match self {
            Self::Host { origin, at_origin } => nanoseconds(at_origin.saturating_add(origin.elapsed())),
            Self::Fixed { monotonic, .. } => *monotonic,
        }
    }

    /// The time of day at monotonic time 0, of a clock that only the guest advances.
    pub(super) fn fixed_day(&self) -> Option<u64> {
        match self {
            Self::Host { .. } => None,
            Self::Fixed { day, .. } => Some(*day),
        }
    }

    /// The time of day in nanoseconds since 1970.
    pub(super) fn day(&self) -> u64 {
        self.fixed_day().map_or_else(now, |day| day.saturating_add(self.monotonic()))
    }

    /// The clock of a checkpoint. The host's monotonic clock does not go back: a restored guest must not see
    /// that.
    pub(super) fn restored(&self, monotonic: u64, fixed_day: Option<u64>) -> Self {
        match (fixed_day, self) {
            (Some(day), _) => Self::Fixed { day, monotonic },
            (None, Self::Host { .. }) => {
                let at_origin = Duration::from_nanos(self.monotonic().max(monotonic));
                Self::Host { origin: Instant::now(), at_origin }
            }
            (None, Self::Fixed { .. }) => {
                Self::Host { origin: Instant::now(), at_origin: Duration::from_nanos(monotonic) }
            }
        }
    }

    /// Advances a clock that only the guest advances.
    pub(super) fn slept(&mut self, duration: Duration) {
        if let Self::Fixed { monotonic, .. } = self {
            *monotonic = monotonic.saturating_add(nanoseconds(duration));
        }
    }

    /// The time of the clock with this number, in nanoseconds.
    pub(super) fn read(&mut self, id: u32) -> Result<u64, Errno> {
        self.slept(Duration::from_nanos(TICK));
        match id {
            0 => Ok(self.day()),
            1..=3 => Ok(self.monotonic()),
            _ => Err(Errno::Invalid),
        }
    }
}
