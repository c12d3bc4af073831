//! The backend as users see it: a factory, and sessions of it.

use std::sync::Arc;

use abyme_core::{
    Capabilities, Cell, CodeInterpreter, Error, ErrorKind, HostFunctions, InterpreterFactory, Isolation,
    Observation, Result,
};
use abyme_driver::repl::Life;
use async_trait::async_trait;
use tokio::{sync::OnceCell, time::timeout};

use crate::{Pyo3Config, python::Started, session::Live};

/// Makes sessions that run Python in this very process: for code you trust. Clones share their state.
///
/// ```no_run
/// # async fn example() -> abyme_core::Result<()> {
/// use abyme_core::{CodeInterpreterExt, InterpreterFactory};
/// use abyme_interpreter_pyo3::{Pyo3Config, Pyo3Factory};
///
/// let factory = Pyo3Factory::new(Pyo3Config::new().venv(".venv"));
/// let mut repl = factory.create().await?.start_session().await?;
/// assert_eq!(repl.run_code("6 * 7").await?.value.unwrap().to_string(), "42");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Pyo3Factory {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: Pyo3Config,
    capabilities: Capabilities,
    python: OnceCell<Started>,
}

impl Default for Pyo3Factory {
    fn default() -> Self {
        Self::new(Pyo3Config::default())
    }
}

impl Pyo3Factory {
    /// A factory with this configuration. Nothing is started yet.
    pub fn new(config: Pyo3Config) -> Self {
        Self { shared: Arc::new(Shared { config, capabilities: capabilities(), python: OnceCell::new() }) }
    }

    /// A session of its own, not started.
    pub fn session(&self) -> Pyo3Interpreter {
        Pyo3Interpreter { shared: self.shared.clone(), life: Life::default() }
    }
}

impl Shared {
    /// A session in the Python of this process, which is started on first use. A failure is not remembered.
    async fn live(&self) -> Result<Live> {
        let start = async {
            let python = self.python.get_or_try_init(|| Started::get(self.config.venv.clone())).await?;
            Live::new(&self.config, python.clone()).await
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
        "The code runs inside the host program: imported modules, the working directory and the environment are shared \
         with it, and os._exit or a crash would end it."
            .to_owned(),
        "Packages installed for the host's Python, such as numpy, can be imported if they are there.".to_owned(),
    ];
    capabilities
}

#[async_trait]
impl InterpreterFactory for Pyo3Factory {
    fn name(&self) -> &str {
        "pyo3"
    }

    fn capabilities(&self) -> &Capabilities {
        &self.shared.capabilities
    }

    async fn create(&self) -> Result<Box<dyn CodeInterpreter>> {
        Ok(Box::new(self.session()))
    }
}

/// A session in this process. See [`Pyo3Factory`].
#[derive(Debug)]
pub struct Pyo3Interpreter {
    shared: Arc<Shared>,
    life: Life<Live>,
}

impl Pyo3Interpreter {
    /// A session with the default configuration. Many sessions are better made by one [`Pyo3Factory`].
    pub fn new() -> Self {
        Pyo3Factory::default().session()
    }

    /// A factory with the default configuration.
    pub fn factory() -> Pyo3Factory {
        Pyo3Factory::default()
    }

    async fn live(&mut self) -> Result<&mut Live> {
        self.life.live(|| self.shared.live()).await
    }
}

impl Default for Pyo3Interpreter {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl CodeInterpreter for Pyo3Interpreter {
    fn capabilities(&self) -> &Capabilities {
        &self.shared.capabilities
    }

    async fn start(&mut self) -> Result<()> {
        self.live().await?.start().await
    }

    async fn execute(&mut self, cell: Cell, host: &dyn HostFunctions) -> Result<Observation> {
        self.live().await?.execute(cell, host).await
    }

    async fn shutdown(&mut self) -> Result<()> {
        if let Some(mut live) = self.life.end(Live::ended) {
            live.shutdown().await;
        }
        Ok(())
    }
}
