//! What the tests of this crate have in common.

use std::time::{Duration, Instant};

/// Waits until something holds, for at most five seconds.
pub(crate) fn eventually(what: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while !what() {
        if start.elapsed() > Duration::from_secs(5) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}
