//! The backend as users see it: [`Remote`], the configuration and the factory of its sessions.

use std::{sync::Arc, time::Duration};

use abyme_core::{
    Access, Capabilities, CodeInterpreter, Error, ErrorKind, InterpreterFactory, Isolation, Result,
};
use abyme_driver::DriverInterpreter;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{config::Config, secret::Secret, session::RemoteLauncher};

/// Python where an agent is: the configuration and the factory of its sessions.
///
/// Serialising writes the configuration without the secret; every field has a default.
///
/// ```no_run
/// # async fn example() -> abyme_core::Result<()> {
/// use abyme_core::InterpreterFactoryExt;
/// use abyme_third_party_backend::Remote;
///
/// let secret = std::env::var("ABYME_AGENT_SECRET").unwrap_or_default();
/// let mut session = Remote::new("127.0.0.1:7411", secret).session().await?;
/// assert_eq!(session.run_code("6 * 7").await?.value.unwrap().to_string(), "42");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Config", into = "Config")]
pub struct Remote {
    launcher: Arc<RemoteLauncher>,
}

impl Default for Remote {
    /// The agent at `127.0.0.1:7411`, without a secret, which no agent accepts.
    fn default() -> Self {
        Self::from(Config::default())
    }
}

impl From<Config> for Remote {
    fn from(config: Config) -> Self {
        let capabilities = capabilities(&config);
        Self { launcher: Arc::new(RemoteLauncher { config, capabilities }) }
    }
}

impl From<Remote> for Config {
    fn from(remote: Remote) -> Self {
        remote.launcher.config.clone()
    }
}

impl Remote {
    /// The agent at an address (`host:port`) with this secret. Nothing is connected yet.
    pub fn new(address: impl Into<String>, secret: impl Into<Secret>) -> Self {
        Self::from(Config { address: address.into(), secret: secret.into(), ..Config::default() })
    }

    /// Sets the agent's address, `host:port`: an agent here, or this end of a tunnel. Default
    /// `127.0.0.1:7411`.
    pub fn address(self, address: impl Into<String>) -> Self {
        self.with(|config| config.address = address.into())
    }

    /// Sets the address space of the process, in bytes. Default 4 GiB; `None` is no limit.
    pub fn memory_limit_bytes(self, bytes: impl Into<Option<u64>>) -> Self {
        self.with(|config| config.memory_limit_bytes = bytes.into())
    }

    /// Sets the processor time of the whole session, in whole seconds. Default none: cells have a time limit.
    pub fn cpu_timeout(self, limit: impl Into<Option<Duration>>) -> Self {
        self.with(|config| config.cpu_timeout = limit.into())
    }

    /// Sets the size of a file that the session writes, in bytes. Default 1 GiB; `None` is no limit.
    pub fn max_file_bytes(self, bytes: impl Into<Option<u64>>) -> Self {
        self.with(|config| config.max_file_bytes = bytes.into())
    }

    /// Sets the number of processes and threads of the agent's *user*, all its programs together. The kernel
    /// does not apply it to root. Default 4 096; `None` is no limit.
    pub fn max_processes(self, processes: impl Into<Option<u32>>) -> Self {
        self.with(|config| config.max_processes = processes.into())
    }

    /// Sets the number of open files of the process. Default 1 024; `None` is no limit.
    pub fn max_open_files(self, files: impl Into<Option<u64>>) -> Self {
        self.with(|config| config.max_open_files = files.into())
    }

    /// Sets how long the agent may take to accept a connection. Default 10 s.
    pub fn connect_timeout(self, limit: Duration) -> Self {
        self.with(|config| config.connect_timeout = limit)
    }

    /// Sets how long a session may take to start. Default 10 s.
    pub fn start_timeout(self, limit: Duration) -> Self {
        self.with(|config| config.start_timeout = limit)
    }

    /// Sets how long a cell may run after its time limit before its process is killed. The cell is
    /// interrupted at its limit and once more half-way through the grace. Default 1.5 s.
    pub fn interrupt_grace(self, grace: Duration) -> Self {
        self.with(|config| config.interrupt_grace = grace)
    }

    fn with(self, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::from(self);
        change(&mut config);
        Self::from(config)
    }
}

#[async_trait]
impl InterpreterFactory for Remote {
    fn name(&self) -> &str {
        "remote"
    }

    fn capabilities(&self) -> &Capabilities {
        &self.launcher.capabilities
    }

    async fn create(&self) -> Result<Box<dyn CodeInterpreter>> {
        if self.launcher.config.secret.is_empty() {
            return Err(Error::new(
                ErrorKind::Config,
                "the remote backend has no secret: give it the one in the agent's ABYME_AGENT_SECRET",
            ));
        }
        Ok(Box::new(DriverInterpreter::new(self.launcher.clone())))
    }
}

/// What is declared of sessions that run somewhere else.
///
/// The host of the declaration is the machine that the code runs on, with the rights of the agent's user. The
/// code is a process on that kernel, and everything that this user can reach is open to it. The program's own
/// machine is out of the code's reach unless it is the same machine, which this crate cannot know.
fn capabilities(config: &Config) -> Capabilities {
    let mut capabilities = Capabilities::new(Isolation::Machine);
    capabilities.network = Access::Open;
    capabilities.host_files = Access::Open;
    capabilities.environment = Access::Open;
    capabilities.processes = Access::Open;
    capabilities.memory_limit_bytes = config.memory_limit_bytes;
    capabilities.interrupt = true;
    capabilities.crash_isolated = true;
    capabilities.threads = true;
    capabilities.concurrent_calls = true;
    capabilities.native_packages = true;
    capabilities.notes = vec![
        "Packages installed for the agent's Python, such as numpy, can be imported if they are there.".into(),
    ];
    capabilities
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_is_read_but_never_written() {
        let remote: Remote = serde_json::from_str(r#"{"secret": "hunter2", "cpu_timeout": 3}"#).unwrap();
        assert!(!remote.launcher.config.secret.is_empty());
        let written = format!("{remote:?} {}", serde_json::to_string(&remote).unwrap());
        assert!(!written.contains("hunter2"), "{written}");
    }
}
