//! Waiting for a moment without going to sleep: waking a thread takes longer than most answers do.

use std::time::{Duration, Instant};

/// How long a thread or a task may spin before it goes to sleep.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SpinLimit(Duration);

impl SpinLimit {
    /// Longer than a short cell takes, which would be twice that if both sides had to be woken.
    const USUAL: Duration = Duration::from_micros(150);

    /// The limit on this machine: on a single core nothing else can work while one thread spins.
    pub(crate) fn of_this_machine() -> Self {
        let is_worthwhile = std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
        Self(if is_worthwhile { Self::USUAL } else { Duration::ZERO })
    }

    /// When spinning that begins now is over.
    pub(crate) fn deadline(self) -> Instant {
        Instant::now() + self.0
    }

    /// Tries until there is an answer or the time is over.
    pub(crate) fn spin<T>(self, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
        let deadline = self.deadline();
        loop {
            let answer = attempt();
            if answer.is_some() || Instant::now() >= deadline {
                return answer;
            }
            std::hint::spin_loop();
        }
    }
}
