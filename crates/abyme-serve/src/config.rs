//! What a server allows, whichever key asks.

use std::{path::PathBuf, time::Duration};

use abyme_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// What a server allows, whichever key asks. What each key may do is in its [`KeyLimits`](crate::KeyLimits),
/// what each run may use in the [`Limits`](abyme_core::Limits) of its `Rlm`.
///
/// ```
/// use abyme_serve::ServeConfig;
///
/// let config = ServeConfig::default().max_runs(8).trace_dir("runs");
/// assert_eq!(config.max_queued, 64);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ServeConfig {
    /// Runs at work at once; further requests wait. Default 4.
    pub max_runs: usize,
    /// Requests that wait; further ones are refused with status 429. Default 64.
    pub max_queued: usize,
    /// How long a request waits, at most; then it is refused with status 429. Default 300 s.
    #[serde(with = "abyme_core::seconds")]
    pub queue_timeout: Duration,
    /// Connections at once; further ones wait to be accepted. Default 512.
    pub max_connections: usize,
    /// Bytes of a request's body. Default 64 MiB: two million tokens are about 8 MiB.
    pub max_body_bytes: u64,
    /// Bytes of the bodies of all requests that are read, wait or run. Default 1 GiB.
    pub max_total_body_bytes: u64,
    /// How long the head of a request may take, and how long a connection may be idle. Default 10 s.
    #[serde(with = "abyme_core::seconds")]
    pub header_timeout: Duration,
    /// How long a body may pause. Default 20 s.
    #[serde(with = "abyme_core::seconds")]
    pub body_idle_timeout: Duration,
    /// How long a whole body may take. Default 300 s.
    #[serde(with = "abyme_core::seconds")]
    pub body_timeout: Duration,
    /// How long a client may take nothing of its answer. Default 60 s.
    #[serde(with = "abyme_core::seconds")]
    pub write_timeout: Duration,
    /// How often a streamed answer shows a sign of life. Default 15 s.
    #[serde(with = "abyme_core::seconds")]
    pub keep_alive_interval: Duration,
    /// How long runs may go on once the server is to end; then they are cancelled. Default 30 s.
    #[serde(with = "abyme_core::seconds")]
    pub shutdown_grace: Duration,
    /// Whether streams show what the model writes on its way to the answer, as `reasoning_content`.
    /// Default: they do.
    pub reasoning: bool,
    /// A directory to record each run in, as `<run>.jsonl`; it is made where it is missing. Default: runs are
    /// not recorded.
    pub trace_dir: Option<PathBuf>,
    /// A file to remember in what the keys used today, so that a new start does not give them their budgets
    /// again. Default: a new start does.
    pub usage_file: Option<PathBuf>,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            max_runs: 4,
            max_queued: 64,
            queue_timeout: Duration::from_secs(300),
            max_connections: 512,
            max_body_bytes: 64 << 20,
            max_total_body_bytes: 1 << 30,
            header_timeout: Duration::from_secs(10),
            body_idle_timeout: Duration::from_secs(20),
            body_timeout: Duration::from_secs(300),
            write_timeout: Duration::from_secs(60),
            keep_alive_interval: Duration::from_secs(15),
            shutdown_grace: Duration::from_secs(30),
            reasoning: true,
            trace_dir: None,
            usage_file: None,
        }
    }
}

/// A setter for each field.
macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {
        $($(#[$doc])* #[must_use] pub fn $name(mut self, $name: $type) -> Self {
            self.$name = $name;
            self
        })*
    };
}

impl ServeConfig {
    setters! {
        /// Sets how many runs are at work at once.
        max_runs: usize,
        /// Sets how many requests wait.
        max_queued: usize,
        /// Sets how long a request waits.
        queue_timeout: Duration,
        /// Sets how many connections there are at once.
        max_connections: usize,
        /// Sets how large a body may be.
        max_body_bytes: u64,
        /// Sets how large all bodies may be together.
        max_total_body_bytes: u64,
        /// Sets how long the head of a request may take.
        header_timeout: Duration,
        /// Sets how long a body may pause.
        body_idle_timeout: Duration,
        /// Sets how long a body may take.
        body_timeout: Duration,
        /// Sets how long a client may take nothing of its answer.
        write_timeout: Duration,
        /// Sets how often a streamed answer shows a sign of life.
        keep_alive_interval: Duration,
        /// Sets how long runs may go on once the server is to end.
        shutdown_grace: Duration,
        /// Sets whether streams show what the model writes on its way.
        reasoning: bool,
    }

    /// Records each run in this directory.
    #[must_use]
    pub fn trace_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.trace_dir = Some(directory.into());
        self
    }

    /// Remembers in this file what the keys used today.
    #[must_use]
    pub fn usage_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.usage_file = Some(file.into());
        self
    }

    /// Refuses what cannot work.
    pub(crate) fn check(&self) -> Result<()> {
        let zero = [
            ("max_runs", self.max_runs == 0),
            ("max_connections", self.max_connections == 0),
            ("max_body_bytes", self.max_body_bytes == 0),
            ("max_total_body_bytes", self.max_total_body_bytes == 0),
            ("header_timeout", self.header_timeout.is_zero()),
            ("body_idle_timeout", self.body_idle_timeout.is_zero()),
            ("body_timeout", self.body_timeout.is_zero()),
            ("write_timeout", self.write_timeout.is_zero()),
            ("keep_alive_interval", self.keep_alive_interval.is_zero()),
        ];
        if let Some((name, _)) = zero.into_iter().find(|(_, is_zero)| *is_zero) {
            let message = format!("{name} is 0: no request could be answered");
            return Err(Error::new(ErrorKind::Config, message));
        }
        // What a semaphore can count.
        if self.max_runs.saturating_add(self.max_queued) > tokio::sync::Semaphore::MAX_PERMITS {
            return Err(Error::new(ErrorKind::Config, "max_runs and max_queued are too many"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_pinned() {
        let expected = serde_json::json!({
            "max_runs": 4, "max_queued": 64, "queue_timeout": 300.0, "max_connections": 512,
            "max_body_bytes": 67_108_864, "max_total_body_bytes": 1_073_741_824, "header_timeout": 10.0,
            "body_idle_timeout": 20.0, "body_timeout": 300.0, "write_timeout": 60.0,
            "keep_alive_interval": 15.0, "shutdown_grace": 30.0, "reasoning": true, "trace_dir": null,
            "usage_file": null,
        });
        assert_eq!(serde_json::to_value(ServeConfig::default()).unwrap(), expected);
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        let error = ServeConfig::default().max_runs(0).check().unwrap_err();
        assert!(error.message().starts_with("max_runs is 0"), "{error}");
        assert!(ServeConfig::default().max_queued(usize::MAX).check().is_err());
        ServeConfig::default().max_queued(0).check().unwrap();
    }
}
