//! The system of one guest.

use std::time::Duration;

use super::{
    clock::Clock,
    descriptors::Descriptors,
    output::{CapturedOutput, OutputCapture},
    random::Random,
};
use crate::fs::FileSystem;

/// The system of one guest: its files, descriptors, output, clock and random bytes.
#[derive(Debug)]
pub struct Wasi {
    pub(super) files: FileSystem,
    pub(super) descriptors: Descriptors,
    pub(super) output: [OutputCapture; 2],
    pub(super) clock: Clock,
    pub(super) random: Random,
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
        }
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
