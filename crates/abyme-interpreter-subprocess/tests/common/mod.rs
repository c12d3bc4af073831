//! What the tests of this crate have in common.

use std::time::{Duration, Instant};

/// How long something may take. Nothing is measured by it: it only ends a test that fails, also on a machine
/// that is slow.
const WAIT_TIMEOUT: Duration = Duration::from_secs(20);

/// Waits until something holds.
pub(crate) fn eventually(what: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while !what() {
        if start.elapsed() > WAIT_TIMEOUT {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}
