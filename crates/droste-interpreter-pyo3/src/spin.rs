//! Waiting without going to sleep, for a moment: waking a thread takes longer than most answers do.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

/// Longer than a short cell takes, which would be twice that if both sides had to be woken.
const MOMENT: Duration = Duration::from_micros(150);

/// Whether somebody else can work while we wait.
static WORTHWHILE: LazyLock<bool> =
    LazyLock::new(|| std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1));

/// Tries until it has an answer or the moment is over.
pub(crate) fn spin<T>(mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let started = Instant::now();
    loop {
        if let Some(answer) = attempt() {
            return Some(answer);
        }
        if !*WORTHWHILE || started.elapsed() > MOMENT {
            return None;
        }
        std::hint::spin_loop();
    }
}

/// The same for a task, which lets others of its thread run in between.
pub(crate) async fn spin_task<T>(mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let started = Instant::now();
    loop {
        if let Some(answer) = attempt() {
            return Some(answer);
        }
        if !*WORTHWHILE || started.elapsed() > MOMENT {
            return None;
        }
        tokio::task::yield_now().await;
    }
}
