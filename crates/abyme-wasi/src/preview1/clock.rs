//! The clocks of a guest.

use std::time::{Duration, Instant};

use crate::fs::{Errno, nanoseconds, now};

/// The start of a new guest's monotonic clock. It does not tell when the host was started.
const START: Duration = Duration::from_secs(1);

/// The monotonic clock. It also serves as the clocks of processor time, although it counts waiting too.
#[derive(Debug)]
pub(super) struct Clock {
    origin: Instant,
    /// The time of the clock at `origin`.
    at_origin: Duration,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { origin: Instant::now(), at_origin: START }
    }

    /// The monotonic time in nanoseconds.
    pub(super) fn monotonic(&self) -> u64 {
        nanoseconds(self.at_origin.saturating_add(self.origin.elapsed()))
    }

    /// Advances the monotonic clock to `time`, unless it is later already: a restored guest must not see it
    /// go back.
    pub(super) fn advance_to(&mut self, time: u64) {
        let at_origin = Duration::from_nanos(self.monotonic().max(time));
        *self = Self { origin: Instant::now(), at_origin };
    }

    /// The time of the clock with this number, in nanoseconds.
    pub(super) fn read(&self, id: u32) -> Result<u64, Errno> {
        match id {
            0 => Ok(now()),
            1..=3 => Ok(self.monotonic()),
            _ => Err(Errno::Invalid),
        }
    }
}
