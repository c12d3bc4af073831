//! Waiting without going to sleep, for a moment: waking a thread takes longer than most answers do.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

/// Whether somebody else can work while we wait.
static WORTHWHILE: LazyLock<bool> =
    LazyLock::new(|| std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1));

/// Since when somebody waits.
struct Moment(Instant);

impl Moment {
    /// Longer than a short cell takes, which would be twice that if both sides had to be woken.
    const LENGTH: Duration = Duration::from_micros(150);

    fn begin() -> Self {
        Self(Instant::now())
    }

    fn is_over(&self) -> bool {
        !*WORTHWHILE || self.0.elapsed() > Self::LENGTH
    }
}

/// Tries until it has an answer or the moment is over.
pub(crate) fn spin<T>(mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let moment = Moment::begin();
    loop {
        let answer = attempt();
        if answer.is_some() || moment.is_over() {
            return answer;
        }
        std::hint::spin_loop();
    }
}

/// The same for a task, which lets others of its thread run in between.
pub(crate) async fn spin_task<T>(mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let moment = Moment::begin();
    loop {
        let answer = attempt();
        if answer.is_some() || moment.is_over() {
            return answer;
        }
        tokio::task::yield_now().await;
    }
}
