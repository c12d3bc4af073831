//! The configuration of the backend: the part of [`Remote`](crate::Remote) that is plain data.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::secret::Secret;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Config {
    pub(crate) address: String,
    /// Read, but never written.
    #[serde(skip_serializing)]
    pub(crate) secret: Secret,
    pub(crate) memory_limit_bytes: Option<u64>,
    #[serde(with = "abyme_core::seconds::option")]
    pub(crate) cpu_timeout: Option<Duration>,
    pub(crate) max_file_bytes: Option<u64>,
    pub(crate) max_processes: Option<u32>,
    pub(crate) max_open_files: Option<u64>,
    #[serde(with = "abyme_core::seconds")]
    pub(crate) connect_timeout: Duration,
    #[serde(with = "abyme_core::seconds")]
    pub(crate) start_timeout: Duration,
    #[serde(with = "abyme_core::seconds")]
    pub(crate) interrupt_grace: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            address: "127.0.0.1:7411".to_owned(),
            secret: Secret::default(),
            memory_limit_bytes: Some(4 << 30),
            cpu_timeout: None,
            max_file_bytes: Some(1 << 30),
            max_processes: Some(4096),
            max_open_files: Some(1024),
            connect_timeout: Duration::from_secs(10),
            start_timeout: Duration::from_secs(10),
            interrupt_grace: Duration::from_millis(1500),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_pinned() {
        let config = Config::default();
        assert_eq!(config.address, "127.0.0.1:7411");
        assert!(config.secret.is_empty() && config.cpu_timeout.is_none());
        assert_eq!((config.memory_limit_bytes, config.max_file_bytes), (Some(4 << 30), Some(1 << 30)));
        assert_eq!((config.max_processes, config.max_open_files), (Some(4096), Some(1024)));
        assert_eq!(
            (config.connect_timeout, config.start_timeout),
            (Duration::from_secs(10), Duration::from_secs(10))
        );
        assert_eq!(config.interrupt_grace, Duration::from_millis(1500));
    }
}
