//! Requests a minute, counted exactly: no minute holds more than the limit.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);

/// The requests of the last minute.
#[derive(Debug)]
pub(crate) struct RequestRate {
    per_minute: usize,
    recent: Mutex<VecDeque<Instant>>,
}

impl RequestRate {
    pub(crate) fn new(per_minute: u32) -> Self {
        Self { per_minute: per_minute as usize, recent: Mutex::default() }
    }

    /// Counts a request, unless there were too many: then how long to wait.
    pub(crate) fn take(&self, now: Instant) -> Result<(), Duration> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        while recent.front().is_some_and(|at| now.duration_since(*at) >= MINUTE) {
            recent.pop_front();
        }
        match recent.front() {
            Some(oldest) if recent.len() >= self.per_minute => {
                Err(MINUTE.saturating_sub(now.duration_since(*oldest)))
            }
            _ => {
                recent.push_back(now);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_minute_holds_more_than_the_limit() {
        let (rate, start) = (RequestRate::new(2), Instant::now());
        let take = |seconds: u64| rate.take(start + Duration::from_secs(seconds));
        assert_eq!((take(0), take(50)), (Ok(()), Ok(())));
        assert_eq!(take(59), Err(Duration::from_secs(1)));
        assert_eq!(take(60), Ok(()));
        assert_eq!(take(61), Err(Duration::from_secs(49)));
    }
}
