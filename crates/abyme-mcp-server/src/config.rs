//! What a server allows its clients.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use abyme_core::{Cell, Error, ErrorKind, Result};
use abyme_listen::Token;
use serde::{Deserialize, Serialize};

/// What a server allows its clients, whichever way they come.
///
/// | field, and setter | default |
/// |---|---|
/// | `max_runs` | 4 |
/// | `max_queued` | 32 |
/// | `max_sessions` | 8 |
/// | `session_idle_timeout` | 15 min |
/// | `cell_timeout` | 120 s |
/// | `max_output_chars` | 10 000 |
/// | `max_message_bytes` | 16 MiB |
/// | `task_timeout` | 1 h |
/// | `task_poll_timeout` | 5 min |
/// | `max_records` | 32 |
/// | `max_record_bytes` | 8 MiB |
/// | `trace_dir` | none |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RlmServerConfig {
    pub(crate) max_runs: usize,
    pub(crate) max_queued: usize,
    pub(crate) max_sessions: usize,
    #[serde(with = "abyme_core::seconds")]
    pub(crate) session_idle_timeout: Duration,
    #[serde(with = "abyme_core::seconds")]
    pub(crate) cell_timeout: Duration,
    pub(crate) max_output_chars: usize,
    pub(crate) max_message_bytes: usize,
    #[serde(with = "abyme_core::seconds")]
    pub(crate) task_timeout: Duration,
    #[serde(with = "abyme_core::seconds")]
    pub(crate) task_poll_timeout: Duration,
    pub(crate) max_records: usize,
    pub(crate) max_record_bytes: usize,
    pub(crate) trace_dir: Option<PathBuf>,
}

impl Default for RlmServerConfig {
    fn default() -> Self {
        Self {
            max_runs: 4,
            max_queued: 32,
            max_sessions: 8,
            session_idle_timeout: Duration::from_secs(15 * 60),
            cell_timeout: Cell::TIMEOUT,
            max_output_chars: Cell::MAX_OUTPUT_CHARS,
            max_message_bytes: 16 << 20,
            task_timeout: Duration::from_secs(3600),
            task_poll_timeout: Duration::from_secs(5 * 60),
            max_records: 32,
            max_record_bytes: 8 << 20,
            trace_dir: None,
        }
    }
}

impl RlmServerConfig {
    /// Sets how many questions are at work at once; further ones wait. Default 4.
    pub fn max_runs(mut self, runs: usize) -> Self {
        self.max_runs = runs;
        self
    }

    /// Sets how many questions may wait; further ones are refused. Default 32.
    pub fn max_queued(mut self, questions: usize) -> Self {
        self.max_queued = questions;
        self
    }

    /// Sets how many sessions are open at once; further ones are refused. Default 8.
    pub fn max_sessions(mut self, sessions: usize) -> Self {
        self.max_sessions = sessions;
        self
    }

    /// Sets after how long a session that runs nothing is closed. Default 15 minutes.
    pub fn session_idle_timeout(mut self, limit: Duration) -> Self {
        self.session_idle_timeout = limit;
        self
    }

    /// Sets how long a cell of a session may take; a call may ask for less. Default 120 s.
    pub fn cell_timeout(mut self, limit: Duration) -> Self {
        self.cell_timeout = limit;
        self
    }

    /// Sets how many characters of what a cell of a session produced are answered. Default 10 000.
    pub fn max_output_chars(mut self, chars: usize) -> Self {
        self.max_output_chars = chars;
        self
    }

    /// Sets how large a message of a client may be. Default 16 MiB.
    pub fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.max_message_bytes = bytes;
        self
    }

    /// Sets how long a question that is a task may take, the wait for its turn included, and for how long
    /// after its end its answer is kept. Default 1 hour each.
    pub fn task_timeout(mut self, limit: Duration) -> Self {
        self.task_timeout = limit;
        self
    }

    /// Sets after how long a task that no client asks about is cancelled. Default 5 minutes.
    pub fn task_poll_timeout(mut self, limit: Duration) -> Self {
        self.task_poll_timeout = limit;
        self
    }

    /// Sets how many records of runs are kept in memory; the oldest go first. Default 32.
    pub fn max_records(mut self, records: usize) -> Self {
        self.max_records = records;
        self
    }

    /// Sets how large a record may be that is kept in memory. Default 8 MiB.
    pub fn max_record_bytes(mut self, bytes: usize) -> Self {
        self.max_record_bytes = bytes;
        self
    }

    /// Writes the record of each run to a file of this directory, as it happens. Default: to none.
    pub fn trace_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.trace_dir = Some(directory.into());
        self
    }

    /// Refuses what cannot work.
    pub(crate) fn check(&self) -> Result<()> {
        let zero = |name: &str| {
            Err(Error::new(ErrorKind::Config, format!("`{name}` is 0: nothing could be served")))
        };
        match self {
            Self { max_runs: 0, .. } => zero("max_runs"),
            Self { max_message_bytes: 0, .. } => zero("max_message_bytes"),
            Self { cell_timeout, .. } if cell_timeout.is_zero() => zero("cell_timeout"),
            Self { session_idle_timeout, .. } if session_idle_timeout.is_zero() => {
                zero("session_idle_timeout")
            }
            Self { task_timeout, .. } if task_timeout.is_zero() => zero("task_timeout"),
            Self { task_poll_timeout, .. } if task_poll_timeout.is_zero() => zero("task_poll_timeout"),
            _ => Ok(()),
        }
    }
}

/// Where a server listens for clients over HTTP, and which of them it answers.
///
/// `serde` does not write the token, and `Debug` does not show it.
///
/// | field, and setter | default |
/// |---|---|
/// | `address` | 127.0.0.1, a port that is free |
/// | `token` | one made at random |
/// | `allowed_hosts` | `localhost`, `127.0.0.1`, `::1` |
/// | `allowed_origins` | none |
/// | `max_connections` | 256 |
/// | `max_clients` | 64 |
/// | `client_idle_timeout` | 30 min |
/// | `reconnect_timeout` | 60 s |
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HttpConfig {
    pub(crate) address: SocketAddr,
    #[serde(skip_serializing)]
    pub(crate) token: Option<String>,
    pub(crate) allowed_hosts: Vec<String>,
    pub(crate) allowed_origins: Vec<String>,
    pub(crate) max_connections: usize,
    pub(crate) max_clients: usize,
    #[serde(with = "abyme_core::seconds")]
    pub(crate) client_idle_timeout: Duration,
    #[serde(with = "abyme_core::seconds")]
    pub(crate) reconnect_timeout: Duration,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            token: None,
            allowed_hosts: ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec(),
            allowed_origins: Vec::new(),
            max_connections: 256,
            max_clients: 64,
            client_idle_timeout: Duration::from_secs(30 * 60),
            reconnect_timeout: Duration::from_secs(60),
        }
    }
}

impl HttpConfig {
    /// Sets the address; port 0 is one that is free. Default: the loopback interface.
    pub fn address(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// Sets the token that each request has in its header `Authorization: Bearer`: 16 characters at least,
    /// without the space around them. Default, and where it is empty: one made at random, which
    /// [`HttpServer::token`](crate::HttpServer::token) tells.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Adds a name that clients may call this server by, as in their header `Host`: with another one comes
    /// the page of another site that had its name point here.
    pub fn allow_host(mut self, host: impl Into<String>) -> Self {
        self.allowed_hosts.push(host.into());
        self
    }

    /// Adds an origin whose pages may send requests, such as `https://example.com:443`. Default: no page may.
    pub fn allow_origin(mut self, origin: impl Into<String>) -> Self {
        self.allowed_origins.push(origin.into());
        self
    }

    /// Sets how many connections are open at once; further ones wait. Default 256.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections;
        self
    }

    /// Sets how many clients with a session of the protocol there may be; further ones are refused. Default
    /// 64.
    pub fn max_clients(mut self, clients: usize) -> Self {
        self.max_clients = clients;
        self
    }

    /// Sets after how long a client without a connection is forgotten, and its sessions are closed. Default
    /// 30 minutes.
    pub fn client_idle_timeout(mut self, limit: Duration) -> Self {
        self.client_idle_timeout = limit;
        self
    }

    /// Sets how long a client may be away whose connection broke in the middle of a call; then its calls are
    /// cancelled and it is forgotten. Default 60 s.
    pub fn reconnect_timeout(mut self, limit: Duration) -> Self {
        self.reconnect_timeout = limit;
        self
    }

    /// Refuses what cannot work.
    /// The token, if one is given.
    pub(crate) fn check(&self) -> Result<Option<&str>> {
        let wrong = |message: String| Err(Error::new(ErrorKind::Config, message));
        match self {
            Self { max_connections: 0, .. } => {
                wrong("`max_connections` is 0: nothing could be served".to_owned())
            }
            Self { max_clients: 0, .. } => wrong("`max_clients` is 0: nothing could be served".to_owned()),
            _ => Token::given(self.token.as_deref())
                .or_else(|problem| wrong(format!("the token of the server {problem}"))),
        }
    }
}

impl fmt::Debug for HttpConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpConfig")
            .field("address", &self.address)
            .field("allowed_hosts", &self.allowed_hosts)
            .field("allowed_origins", &self.allowed_origins)
            .field("max_connections", &self.max_connections)
            .field("max_clients", &self.max_clients)
            .field("client_idle_timeout", &self.client_idle_timeout)
            .field("reconnect_timeout", &self.reconnect_timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_pinned() {
        let expected = serde_json::json!({
            "max_runs": 4, "max_queued": 32, "max_sessions": 8, "session_idle_timeout": 900.0,
            "cell_timeout": 120.0, "max_output_chars": 10_000, "max_message_bytes": 16 << 20,
            "task_timeout": 3600.0, "task_poll_timeout": 300.0, "max_records": 32,
            "max_record_bytes": 8 << 20, "trace_dir": null,
        });
        assert_eq!(serde_json::to_value(RlmServerConfig::default()).unwrap(), expected);
        let expected = serde_json::json!({
            "address": "127.0.0.1:0", "allowed_hosts": ["localhost", "127.0.0.1", "::1"],
            "allowed_origins": [], "max_connections": 256, "max_clients": 64,
            "client_idle_timeout": 1800.0, "reconnect_timeout": 60.0,
        });
        assert_eq!(serde_json::to_value(HttpConfig::default()).unwrap(), expected);
    }

    #[test]
    fn what_cannot_work_is_refused_and_no_token_is_shown() {
        assert!(RlmServerConfig::default().max_runs(0).check().is_err());
        assert!(RlmServerConfig::default().task_timeout(Duration::ZERO).check().is_err());
        assert!(HttpConfig::default().token("0123456789abcde").check().is_err());
        assert!(HttpConfig::default().token("with a space in it").check().is_err());
        assert_eq!(HttpConfig::default().token(" \n").check().unwrap(), None);
        let config = HttpConfig::default().token(" s3cret-s3cret-s3cret\n");
        assert_eq!(config.check().unwrap(), Some("s3cret-s3cret-s3cret"));
        assert!(!format!("{config:?}").contains("s3cret"));
    }
}
