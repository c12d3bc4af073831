//! Waiting without going to sleep, for a moment: waking a thread takes longer than most answers do.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

/// Whether somebody else can work while we wait.
static WORTHWHILE: LazyLock<bool> =
    LazyLock::new(|| std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1));

/// The time that a thread or a task may spin.
pub(crate) struct SpinTime(Instant);

impl SpinTime {
    /// Longer than a short cell takes, which would be twice that if both sides had to be woken.
    const LENGTH: Duration = Duration::from_micros(150);

    pub(crate) fn begin() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn is_over(&self) -> bool {
        !*WORTHWHILE || self.0.elapsed() > Self::LENGTH
    }
}

/// Tries until it has an answer or the time is over.
pub(crate) fn spin<T>(mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let time = SpinTime::begin();
    loop {
        let answer = attempt();
        if answer.is_some() || time.is_over() {
            return answer;
        }
        std::hint::spin_loop();
    }
}
