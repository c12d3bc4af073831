//! Runs at work and requests that wait for one to end, both bounded.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How much the newest run counts in the mean.
const NEWEST_SHARE: f64 = 0.2;
/// The pauses that a refused client is told to make. Clients ignore longer ones.
const RETRY_SECONDS: (f64, f64) = (1.0, 60.0);

/// The requests that are at work and those that wait. They get to work in the order in which they came.
#[derive(Debug)]
pub(crate) struct RequestQueue {
    max_requests: usize,
    max_runs: usize,
    /// Requests that wait or are at work.
    requests: Arc<Semaphore>,
    /// Runs at work.
    runs: Arc<Semaphore>,
    /// How long a run takes, in seconds: newer ones count more.
    mean_seconds: Mutex<f64>,
}

impl RequestQueue {
    pub(crate) fn new(max_runs: usize, max_queued: usize) -> Self {
        let max_requests = max_runs + max_queued;
        let requests = Arc::new(Semaphore::new(max_requests));
        let runs = Arc::new(Semaphore::new(max_runs));
        Self { max_requests, max_runs, requests, runs, mean_seconds: Mutex::new(RETRY_SECONDS.0) }
    }

    /// Lets a request in, if there is room for it.
    pub(crate) fn enter(&self) -> Option<OwnedSemaphorePermit> {
        self.requests.clone().try_acquire_owned().ok()
    }

    /// Waits for the request's turn.
    pub(crate) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        self.runs.clone().acquire_owned().await.ok()
    }

    /// Waits until no request is left.
    pub(crate) async fn is_empty(&self) {
        let all = u32::try_from(self.max_requests).unwrap_or(u32::MAX);
        self.requests.acquire_many(all).await.ok();
    }

    pub(crate) fn max_runs(&self) -> usize {
        self.max_runs
    }

    /// How many runs are at work.
    pub(crate) fn running(&self) -> usize {
        self.max_runs - self.runs.available_permits()
    }

    /// How many requests wait, those whose body is being read included.
    pub(crate) fn waiting(&self) -> usize {
        (self.max_requests - self.requests.available_permits()).saturating_sub(self.running())
    }

    /// Takes note of how long a run took.
    pub(crate) fn took(&self, time: Duration) {
        let mut mean = self.mean_seconds.lock().unwrap_or_else(PoisonError::into_inner);
        *mean += NEWEST_SHARE * (time.as_secs_f64() - *mean);
    }

    /// When a refused client may find room: about when the next run ends.
    pub(crate) fn retry_after(&self) -> Duration {
        let mean = *self.mean_seconds.lock().unwrap_or_else(PoisonError::into_inner);
        let (least, most) = RETRY_SECONDS;
        Duration::from_secs_f64((mean / self.max_runs as f64).clamp(least, most))
    }
}
