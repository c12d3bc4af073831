//! The backend as users see it: a factory, and sessions of it.

use std::sync::Arc;

use async_trait::async_trait;
use droste_core::{
    Access, Capabilities, Cell, CodeInterpreter, Error, ErrorKind, HostFunctions, InterpreterFactory,
    Isolation, Observation, Result,
};
use droste_wire::python;
use tokio::sync::OnceCell;

use crate::{SubprocessConfig, probe::Python, session, session::Live, spawner::Spawner};

/// Makes sessions that run Python in a child process. Clones share what was found out about that Python.
///
/// ```no_run
/// # async fn example() -> droste_core::Result<()> {
/// use droste_core::{CodeInterpreterExt, InterpreterFactory};
/// use droste_interpreter_subprocess::{SubprocessConfig, SubprocessFactory};
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

    /// A factory whose sessions run another driver that speaks the same protocol. Droste's own tests plant faults
    /// this way.
    pub fn with_driver(config: SubprocessConfig, driver: &[(&str, &str)]) -> Self {
        let driver = driver.iter().map(|(name, source)| ((*name).to_owned(), (*source).to_owned())).collect();
        let capabilities = capabilities(&config);
        Self { shared: Arc::new(Shared { config, capabilities, driver, python: OnceCell::new() }) }
    }

    /// A session of its own, not started.
    pub fn session(&self) -> SubprocessInterpreter {
        SubprocessInterpreter { shared: self.shared.clone(), state: State::New }
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

fn capabilities(config: &SubprocessConfig) -> Capabilities {
    let mut capabilities = Capabilities::new(Isolation::Process);
    capabilities.network = Access::Open;
    capabilities.host_files = Access::Open;
    // Its own environment is an allow-list, but code of the same user can read the host's through /proc.
    capabilities.environment = Access::Open;
    capabilities.processes = Access::Open;
    capabilities.memory_limit = config.memory_limit;
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
pub struct SubprocessInterpreter {
    shared: Arc<Shared>,
    state: State,
}

#[derive(Debug)]
enum State {
    New,
    Live(Box<Live>),
    Ended(String),
}

impl SubprocessInterpreter {
    /// A session with the default configuration. Many sessions are better made by one [`SubprocessFactory`].
    pub fn new() -> Self {
        SubprocessFactory::default().session()
    }

    /// A factory with the default configuration.
    pub fn factory() -> SubprocessFactory {
        SubprocessFactory::default()
    }

    async fn live(&mut self) -> Result<&mut Live> {
        if let State::New = self.state {
            self.state = State::Live(Box::new(session::spawn(&self.shared).await?));
        }
        match &mut self.state {
            State::Live(live) => Ok(live),
            State::Ended(reason) => {
                Err(Error::new(ErrorKind::SessionEnded, format!("the session has ended: {reason}")))
            }
            State::New => Err(Error::new(ErrorKind::Internal, "a session was neither started nor ended")),
        }
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
        &self.shared.capabilities
    }

    async fn start(&mut self) -> Result<()> {
        self.live().await?.start().await
    }

    async fn execute(&mut self, cell: Cell, host: &dyn HostFunctions) -> Result<Observation> {
        self.live().await?.execute(cell, host).await
    }

    async fn shutdown(&mut self) -> Result<()> {
        let before = std::mem::replace(&mut self.state, State::Ended("it was shut down".to_owned()));
        match before {
            State::Live(mut live) => {
                let reason = live.ended().map(str::to_owned);
                live.shutdown().await;
                if let Some(reason) = reason {
                    self.state = State::Ended(reason);
                }
            }
            State::Ended(reason) => self.state = State::Ended(reason),
            State::New => {}
        }
        Ok(())
    }
}
