//! The backend as users see it: a factory, and sessions of it.

use std::sync::Arc;

use abyme_core::{
    Access, Capabilities, Cell, CodeInterpreter, HostFunctions, InterpreterFactory, Isolation, Observation,
    Result,
};
use abyme_driver::{DriverInterpreter, DriverSession, Launcher, python};
use async_trait::async_trait;
use tokio::{
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
    sync::OnceCell,
};

use crate::{SubprocessConfig, probe::Python, session, spawner::Spawner};

/// Makes sessions that run Python in a child process. Clones share what was found out about that Python.
///
/// ```no_run
/// # async fn example() -> abyme_core::Result<()> {
/// use abyme_core::{CodeInterpreterExt, InterpreterFactory};
/// use abyme_interpreter_subprocess::{SubprocessConfig, SubprocessFactory};
///
/// let factory = SubprocessFactory::new(SubprocessConfig::new().python("python3.12"));
/// let mut repl = factory.create().await?.start_session().await?;
/// assert_eq!(repl.run_code("6 * 7").await?.value.unwrap().to_string(), "42");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct SubprocessFactory {
    shared: Arc<Shared>,
}

/// What all sessions of a factory share: nothing that code in them could reach.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: SubprocessConfig,
    capabilities: Capabilities,
    driver: Vec<(String, String)>,
    python: OnceCell<(Python, Spawner)>,
}

impl Default for SubprocessFactory {
    fn default() -> Self {
        Self::new(SubprocessConfig::default())
    }
}

impl SubprocessFactory {
    /// A factory with this configuration. Nothing is started yet.
    pub fn new(config: SubprocessConfig) -> Self {
        Self::with_driver(config, python::DRIVER)
    }

    /// A factory whose sessions run another driver that speaks the same protocol. Abyme's own tests plant faults
    /// this way.
    pub fn with_driver(config: SubprocessConfig, driver: &[(&str, &str)]) -> Self {
        let driver = driver.iter().map(|(name, source)| ((*name).to_owned(), (*source).to_owned())).collect();
        let capabilities = capabilities(&config);
        Self { shared: Arc::new(Shared { config, capabilities, driver, python: OnceCell::new() }) }
    }

    /// A session of its own, not started.
    pub fn session(&self) -> SubprocessInterpreter {
        SubprocessInterpreter(DriverInterpreter::new(self.shared.clone()))
    }
}

impl Shared {
    /// The real Python and the thread that starts it, found on first use. A failure is not remembered.
    pub(crate) async fn python(&self) -> Result<&(Python, Spawner)> {
        self.python
            .get_or_try_init(|| async {
                let driver: Vec<_> =
                    self.driver.iter().map(|(name, source)| (name.as_str(), source.as_str())).collect();
                Ok((Python::find(&self.config.python, &driver).await?, Spawner::new()?))
            })
            .await
    }
}

#[async_trait]
impl Launcher for Shared {
    type Reader = OwnedReadHalf;
    type Writer = OwnedWriteHalf;

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn launch(&self) -> Result<DriverSession<OwnedReadHalf, OwnedWriteHalf>> {
        session::spawn(self).await
    }
}

fn capabilities(config: &SubprocessConfig) -> Capabilities {
    let mut capabilities = Capabilities::new(Isolation::Process);
    capabilities.network = Access::Open;
    capabilities.host_files = Access::Open;
    // Its own environment is an allow-list, but code of the same user can read the host's through /proc.
    capabilities.environment = Access::Open;
    capabilities.processes = Access::Open;
    capabilities.memory_limit_bytes = config.memory_limit_bytes;
    capabilities.interrupt = true;
    capabilities.crash_isolated = true;
    capabilities.threads = true;
    capabilities.concurrent_calls = true;
    capabilities.native_packages = true;
    capabilities.notes = vec![
        "Packages installed for this machine's Python, such as numpy, can be imported if they are there."
            .into(),
    ];
    capabilities
}

#[async_trait]
impl InterpreterFactory for SubprocessFactory {
    fn name(&self) -> &str {
        "subprocess"
    }

    fn capabilities(&self) -> &Capabilities {
        &self.shared.capabilities
    }

    async fn create(&self) -> Result<Box<dyn CodeInterpreter>> {
        Ok(Box::new(self.session()))
    }
}

/// A session in a child process. See [`SubprocessFactory`].
#[derive(Debug)]
pub struct SubprocessInterpreter(DriverInterpreter<Shared>);

impl SubprocessInterpreter {
    /// A session with the default configuration. Many sessions are better made by one [`SubprocessFactory`].
    pub fn new() -> Self {
        SubprocessFactory::default().session()
    }

    /// A factory with the default configuration.
    pub fn factory() -> SubprocessFactory {
        SubprocessFactory::default()
    }
}

impl Default for SubprocessInterpreter {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl CodeInterpreter for SubprocessInterpreter {
    fn capabilities(&self) -> &Capabilities {
        self.0.capabilities()
    }

    async fn start(&mut self) -> Result<()> {
        self.0.start().await
    }

    async fn execute(&mut self, cell: Cell, host: &dyn HostFunctions) -> Result<Observation> {
        self.0.execute(cell, host).await
    }

    async fn shutdown(&mut self) -> Result<()> {
        self.0.shutdown().await
    }
}
