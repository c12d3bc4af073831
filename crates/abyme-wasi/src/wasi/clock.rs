//! The clocks of a guest.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{Wasi, memory::GuestMemory};
use crate::fs::Errno;

/// Where the monotonic clock of a new guest starts. When the host did is not its business.
const START: Duration = Duration::from_secs(1);

/// The monotonic clock, which also stands for processor time: it includes waiting, for lack of anything better.
#[derive(Debug)]
pub(super) struct Clock {
    origin: Instant,
    /// What the clock showed at `origin`.
    shown: Duration,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { origin: Instant::now(), shown: START }
    }

    /// Nanoseconds.
    pub(super) fn monotonic(&self) -> u64 {
        nanoseconds(self.shown.saturating_add(self.origin.elapsed()))
    }

    /// Goes on from `shown`, unless it is further already: a restored guest must not see it go back.
    pub(super) fn advance_to(&mut self, shown: u64) {
        let shown = Duration::from_nanos(self.monotonic().max(shown));
        *self = Self { origin: Instant::now(), shown };
    }

    /// What a clock shows, in nanoseconds.
    pub(super) fn read(&self, id: u32) -> Result<u64, Errno> {
        match id {
            0 => Ok(realtime()),
            1..=3 => Ok(self.monotonic()),
            _ => Err(Errno::Invalid),
        }
    }
}

pub(super) fn clock_res_get(
    wasi: &mut Wasi,
    memory: &mut GuestMemory<'_>,
    id: u32,
    result: u32,
) -> Result<(), Errno> {
    wasi.clock.read(id)?;
    memory.put_u64(result, 1)
}

pub(super) fn clock_time_get(
    wasi: &mut Wasi,
    memory: &mut GuestMemory<'_>,
    id: u32,
    _precision: u64,
    result: u32,
) -> Result<(), Errno> {
    let now = wasi.clock.read(id)?;
    memory.put_u64(result, now)
}

/// Nanoseconds since 1970.
pub(super) fn realtime() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, nanoseconds)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
