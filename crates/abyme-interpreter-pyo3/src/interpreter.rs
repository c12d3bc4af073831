//! The backend as users see it: [`Pyo3`], and the sessions it creates.

use std::{path::PathBuf, sync::Arc, time::Duration};

use abyme_core::{
    Capabilities, Cell, CodeInterpreter, Error, ErrorKind, HostFunctions, InterpreterFactory, Isolation,
    Observation, Result,
};
use abyme_driver::LazySession;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::{sync::OnceCell, time::timeout};

use crate::{config::Config, python::RunningPython, session::Pyo3Session};

/// CPython in the host's own process, for code you trust: the configuration and the factory of its sessions.
///
/// Clones share the Python they have started. Serialising writes the configuration; every field has a
/// default.
///
/// # Starting Python
/// The first session starts Python, unless the program has started it already. While it does, no other code
/// of the program may start Python: CPython offers no way to exclude this. A program that runs Python itself
/// must start it before the first session of this backend.
///
/// ```no_run
/// # async fn example() -> abyme_core::Result<()> {
/// use abyme_core::InterpreterFactoryExt;
/// use abyme_interpreter_pyo3::Pyo3;
///
/// let pyo3 = Pyo3::new().venv(".venv");
/// let mut session = pyo3.session().await?;
/// assert_eq!(session.run_code("6 * 7").await?.value.unwrap().to_string(), "42");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Config", into = "Config")]
pub struct Pyo3 {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: Config,
    capabilities: Capabilities,
    python: OnceCell<RunningPython>,
}

impl Pyo3 {
    /// The defaults. Nothing is started yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a virtual environment whose packages cells can import. A Python of the version that this program
    /// is linked to must have made it. Python starts once per process, so all backends that name a virtual
    /// environment must name the same one. Default none: the Python that runs already, or the packages of the
    /// linked Python.
    pub fn venv(self, directory: impl Into<PathBuf>) -> Self {
        self.with(|config| config.venv = Some(directory.into()))
    }

    /// Sets how long a session may take to start. Default 10 s.
    pub fn start_timeout(self, limit: Duration) -> Self {
        self.with(|config| config.start_timeout = limit)
    }

    /// Sets how much of this program's memory one message of a session may take, in bytes: a call with its
    /// arguments, a submission, or what a cell answers. Default 256 MiB. Python gets a `ValueError` for a
    /// value that would take more.
    pub fn max_message_bytes(self, bytes: u64) -> Self {
        self.with(|config| config.max_message_bytes = bytes)
    }

    /// Sets how long a cell may run after its time limit, before its session is given up. The cell is
    /// interrupted at its limit and once more half-way through the grace. Default 1.5 s, within the 2 s of
    /// contract clause C10.
    pub fn interrupt_grace(self, grace: Duration) -> Self {
        self.with(|config| config.interrupt_grace = grace)
    }

    fn with(self, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.shared.config.clone();
        change(&mut config);
        Self::from(config)
    }
}

impl From<Config> for Pyo3 {
    fn from(config: Config) -> Self {
        Self { shared: Arc::new(Shared { config, ..Shared::default() }) }
    }
}

impl From<Pyo3> for Config {
    fn from(pyo3: Pyo3) -> Self {
        pyo3.shared.config.clone()
    }
}

impl Default for Shared {
    fn default() -> Self {
        Self { config: Config::default(), capabilities: capabilities(), python: OnceCell::new() }
    }
}

impl Shared {
    /// Starts a session in the Python of this process, which is started on first use. A failure is not
    /// remembered.
    async fn start_session(&self) -> Result<Pyo3Session> {
        let start = async {
            let python = self.python.get_or_try_init(|| RunningPython::get(self.config.venv.clone())).await?;
            Pyo3Session::new(&self.config, python.clone()).await
        };
        // Python's lock is needed for both.
        timeout(self.config.start_timeout, start).await.map_err(|_| {
            Error::new(
                ErrorKind::Unavailable,
                format!(
                    "a session was not ready after {:.1} s: other code of this process holds Python's lock",
                    self.config.start_timeout.as_secs_f64()
                ),
            )
        })?
    }
}

fn capabilities() -> Capabilities {
    // The weakest there are: everything of the host is in reach.
    let mut capabilities = Capabilities::new(Isolation::None);
    capabilities.interrupt = true;
    capabilities.threads = true;
    capabilities.concurrent_calls = true;
    capabilities.native_packages = true;
    capabilities.notes = vec![
        "The code runs inside the host program: imported modules, the working directory and the environment \
         are shared with it, and os._exit or a crash would end it."
            .to_owned(),
        "Packages installed for the host's Python, such as numpy, can be imported if they are there."
            .to_owned(),
    ];
    capabilities
}

#[async_trait]
impl InterpreterFactory for Pyo3 {
    fn name(&self) -> &str {
        "pyo3"
    }

    fn capabilities(&self) -> &Capabilities {
        &self.shared.capabilities
    }

    async fn create(&self) -> Result<Box<dyn CodeInterpreter>> {
        Ok(Box::new(Pyo3Interpreter { shared: self.shared.clone(), session: LazySession::default() }))
    }
}

/// A session that starts when it is first used.
#[derive(Debug)]
struct Pyo3Interpreter {
    shared: Arc<Shared>,
    session: LazySession<Pyo3Session>,
}

impl Pyo3Interpreter {
    async fn session(&mut self) -> Result<&mut Pyo3Session> {
        self.session.get_or_start(|| self.shared.start_session()).await
    }
}

#[async_trait]
impl CodeInterpreter for Pyo3Interpreter {
    fn capabilities(&self) -> &Capabilities {
        &self.shared.capabilities
    }

    async fn start(&mut self) -> Result<()> {
        self.session().await?.start().await
    }

    async fn execute(&mut self, cell: Cell, host: &dyn HostFunctions) -> Result<Observation> {
        self.session().await?.execute(cell, host).await
    }

    async fn shutdown(&mut self) -> Result<()> {
        if let Some(mut session) = self.session.end(Pyo3Session::ended) {
            session.shutdown().await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_what_is_serialised() {
        let written = serde_json::to_value(Pyo3::new().venv("/venv")).unwrap();
        assert_eq!(
            written,
            serde_json::json!({
                "venv": "/venv",
                "start_timeout": 10.0,
                "max_message_bytes": 256 << 20,
                "interrupt_grace": 1.5
            })
        );
        let read: Pyo3 = serde_json::from_value(written).unwrap();
        assert_eq!(read.shared.config, Pyo3::new().venv("/venv").shared.config);
    }
}
