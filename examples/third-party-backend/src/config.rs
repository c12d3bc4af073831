//! Where the agent is, and what a session there may use.

use std::time::Duration;

use abyme_driver::DriverTimeouts;
use serde::{Deserialize, Serialize};

use crate::Secret;

/// Where the agent is, and what a session there may use.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct RemoteConfig {
    /// The agent's address, `host:port`. Default `127.0.0.1:7411`: an agent here, or this end of a tunnel.
    pub address: String,
    /// The secret shared with the agent. Default none, which no agent accepts. Never written.
    #[serde(skip_serializing)]
    pub secret: Secret,
    /// Address space of the process, in bytes. Default 4 GiB; `None` is no limit.
    pub memory_limit_bytes: Option<u64>,
    /// Processor time of the whole session, in whole seconds. Default none: cells have a time limit.
    #[serde(with = "abyme_core::seconds::option")]
    pub cpu_timeout: Option<Duration>,
    /// Size of a file the session writes, in bytes. Default 1 GiB; `None` is no limit.
    pub max_file_bytes: Option<u64>,
    /// Processes and threads of the agent's *user*, all its programs together. The kernel does not apply it
    /// to root. Default 4 096; `None` is no limit.
    pub max_processes: Option<u64>,
    /// Open files of the process. Default 1 024; `None` is no limit.
    pub max_open_files: Option<u64>,
    /// How long the agent may take to accept a connection. Default 10 s.
    #[serde(with = "abyme_core::seconds")]
    pub connect_limit: Duration,
    /// Time limits of the session.
    pub session: DriverTimeouts,
}

impl Default for RemoteConfig {
    fn default() -> Self {
        Self {
            address: "127.0.0.1:7411".to_owned(),
            secret: Secret::default(),
            memory_limit_bytes: Some(4 << 30),
            cpu_timeout: None,
            max_file_bytes: Some(1 << 30),
            max_processes: Some(4096),
            max_open_files: Some(1024),
            connect_limit: Duration::from_secs(10),
            session: DriverTimeouts::default(),
        }
    }
}

impl RemoteConfig {
    /// The agent at an address, with this secret.
    pub fn new(address: impl Into<String>, secret: impl Into<Secret>) -> Self {
        Self { address: address.into(), secret: secret.into(), ..Self::default() }
    }

    /// Sets the address space of the process, in bytes.
    pub fn memory_limit_bytes(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.memory_limit_bytes = bytes.into();
        self
    }

    /// Sets the processor time of the whole session.
    pub fn cpu_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.cpu_timeout = limit.into();
        self
    }

    /// Sets the size of a file the session writes, in bytes.
    pub fn max_file_bytes(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.max_file_bytes = bytes.into();
        self
    }

    /// Sets the processes and threads of the agent's user.
    pub fn max_processes(mut self, processes: impl Into<Option<u64>>) -> Self {
        self.max_processes = processes.into();
        self
    }

    /// Sets the open files of the process.
    pub fn max_open_files(mut self, files: impl Into<Option<u64>>) -> Self {
        self.max_open_files = files.into();
        self
    }

    /// Sets how long the agent may take to accept a connection.
    pub fn connect_limit(mut self, limit: Duration) -> Self {
        self.connect_limit = limit;
        self
    }

    /// Sets the time limits of the session.
    pub fn session(mut self, session: DriverTimeouts) -> Self {
        self.session = session;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_pinned() {
        let config = RemoteConfig::default();
        assert_eq!(config.address, "127.0.0.1:7411");
        assert!(config.secret.is_empty() && config.cpu_timeout.is_none());
        assert_eq!((config.memory_limit_bytes, config.max_file_bytes), (Some(4 << 30), Some(1 << 30)));
        assert_eq!((config.max_processes, config.max_open_files), (Some(4096), Some(1024)));
        assert_eq!(config.connect_limit, Duration::from_secs(10));
    }

    #[test]
    fn the_secret_is_read_but_never_written() {
        let config: RemoteConfig =
            serde_json::from_str(r#"{"secret": "hunter2", "cpu_timeout": 3}"#).unwrap();
        assert!(!config.secret.is_empty());
        let shown = format!("{config:?} {}", serde_json::to_string(&config).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
