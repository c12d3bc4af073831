//! What one call may take: time and bytes.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::HttpConfig;

/// The longest exchange, where neither the request nor the configuration limits it.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(300);

/// What one call may take, in however many exchanges. Made by
/// [`HttpClient::allow`](crate::HttpClient::allow), when its time begins.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    pub(crate) total: Duration,
    pub(crate) deadline: Instant,
    pub(crate) first_byte: Option<Duration>,
    pub(crate) idle: Duration,
    pub(crate) connect: Duration,
    pub(crate) bytes: usize,
}

impl Allowance {
    pub(crate) fn new(config: &HttpConfig, timeout: Option<Duration>) -> Self {
        let total = timeout.into_iter().chain(config.timeout).min().unwrap_or(DEFAULT_TIMEOUT);
        Self {
            total,
            deadline: far(Instant::now(), total),
            first_byte: config.first_byte_timeout,
            idle: config.idle_timeout,
            connect: config.connect_timeout,
            bytes: config.max_body_bytes,
        }
    }

    /// When the call has to be over.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// How long the call may take in all.
    pub fn total(&self) -> Duration {
        self.total
    }
}

/// `limit` after `start`, or as far away as makes no difference.
pub(crate) fn far(start: Instant, limit: Duration) -> Instant {
    start + limit.min(Duration::from_secs(365 * 24 * 3600))
}
