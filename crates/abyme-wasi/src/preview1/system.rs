//! The system of one guest.

use std::time::Duration;

use super::{
    clock::Clock,
    descriptors::Descriptors,
    journal::{Differs, Journal, Record},
    output::{CapturedOutput, OutputCapture},
    random::Random,
};
use crate::fs::{Errno, FileSystem};

impl From<Differs> for Errno {
    /// The guest ends at its next call.
    fn from(_: Differs) -> Self {
        Self::Io
    }
}

/// The system of one guest: its files, descriptors, output, clock and random bytes.
#[derive(Debug)]
pub struct Wasi {
    pub(super) files: FileSystem,
    pub(super) descriptors: Descriptors,
    pub(super) output: [OutputCapture; 2],
    pub(super) clock: Clock,
    pub(super) random: Random,
    pub(super) journal: Journal,
    /// How many changes of files had been given the host's time when recording began.
    changes: u64,
}

impl Wasi {
    /// Creates a system whose open descriptors are 0 (at its end), 1 and 2 (captured, see
    /// [`take_output`](Self::take_output)) and 3 (`/`).
    pub fn new(files: FileSystem) -> Self {
        let descriptors = Descriptors::new(files.root());
        Self {
            files,
            descriptors,
            output: Default::default(),
            clock: Clock::new(),
            random: Random::default(),
            journal: Journal::default(),
            changes: 0,
        }
    }

    /// Its files.
    pub fn files(&self) -> &FileSystem {
        &self.files
    }

    /// Makes all that the guest learns of the world repeatable: random bytes come of `seed` from here on; the
    /// time of day, which begins with `day` after 1970, and the monotonic clock go on only when the guest
    /// reads them or sleeps. The clocks of a guest that is so already go on, and so do its random bytes if
    /// they are of this seed.
    pub fn fix(&mut self, seed: u64, day: Duration) {
        if self.random.seed() != Some(seed) {
            self.random = Random::seeded(seed);
        }
        if self.clock.fixed_day().is_none() {
            self.clock.fix(day);
            self.files.set_all_times(self.clock.day());
        }
    }

    /// Whether what the guest learns of the world is repeatable.
    pub fn is_fixed(&self) -> bool {
        self.clock.fixed_day().is_some()
    }

    /// The time of the clock with this number, in nanoseconds.
    pub(super) fn time(&mut self, id: u32) -> Result<u64, Errno> {
        // An unknown clock is an error in a replay too.
        let now = self.clock.read(id)?;
        if self.is_fixed() {
            return Ok(now);
        }
        Ok(self.journal.number(now)?)
    }

    /// Takes note that the guest is told of files, which may be the host's: what these hold is not recorded.
    pub(super) fn forget_mounts(&mut self) {
        if self.files.has_mounts() {
            self.journal.forget();
        }
    }

    /// Fills `bytes` with random ones.
    pub(super) fn fill_random(&mut self, bytes: &mut [u8]) -> Result<(), Errno> {
        let (random, journal) = (&mut self.random, &mut self.journal);
        match random.seed() {
            Some(_) => random.fill(bytes),
            None => journal.random(bytes, |bytes| random.fill(bytes)),
        }
    }

    /// Begins to record what the guest is told, in up to `limit` bytes, so that what it does from here on can
    /// be [repeated](Self::replay) from the present [checkpoint](Self::checkpoint).
    pub fn record(&mut self, limit: u64) {
        self.journal.record(limit);
        self.changes = self.files.changes_at_host_time();
        // Output that was not taken is not part of a checkpoint.
        if !self.output.iter().all(OutputCapture::is_empty) {
            self.journal.forget();
        }
    }

    /// Ends recording. `None` if the guest cannot be made to do the same again: it was told something that
    /// was not recorded, or too much.
    pub fn take_record(&mut self) -> Option<Record> {
        let record = self.journal.take_record()?;
        let unchanged = self.changes == self.files.changes_at_host_time();
        unchanged.then(|| record.ended_at(self.clock.monotonic()))
    }

    /// Tells the guest from here on what it was told when `record` was made. Sleeps take no time.
    pub fn replay(&mut self, record: &Record) {
        self.journal.replay(record);
    }

    /// Ends repeating. Returns whether the guest did what it did when it was recorded. The host's monotonic
    /// clock goes on where it was then, or later.
    pub fn end_replay(&mut self) -> bool {
        let Some(monotonic) = self.journal.end_replay() else { return false };
        if self.clock.fixed_day().is_none() {
            self.clock = self.clock.restored(monotonic, None);
        }
        true
    }

    /// What is recorded or repeated, for what the embedding program itself tells the guest.
    pub fn journal(&mut self) -> &mut Journal {
        &mut self.journal
    }

    /// Takes note that the guest waited for so long, where its own clocks have to go on by that.
    pub fn slept(&mut self, time: Duration) {
        self.clock.slept(time);
    }

    /// Takes what the guest wrote to descriptor 1 (`stream` 0) or 2 (`stream` 1) since the last call. `None`
    /// if it wrote nothing.
    pub fn take_output(&mut self, stream: usize) -> Option<CapturedOutput> {
        self.output.get_mut(stream)?.take()
    }

    /// Sets how many bytes of the start and of the end of each output stream are kept.
    pub fn set_output_window(&mut self, bytes: usize) {
        for output in &mut self.output {
            output.set_window(bytes);
        }
    }
}
