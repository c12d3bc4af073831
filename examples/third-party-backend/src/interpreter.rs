//! The backend as users see it: a factory. Its sessions are [`DriverInterpreter`]s.

use std::sync::Arc;

use abyme_core::{
    Access, Capabilities, CodeInterpreter, Error, ErrorKind, InterpreterFactory, Isolation, Result,
};
use abyme_driver::{
    DriverInterpreter, DriverSession, Launcher,
    python::{self, BOOT, BundleKind},
};
use async_trait::async_trait;
use tokio::{
    io::AsyncWriteExt,
    net::tcp::{OwnedReadHalf, OwnedWriteHalf},
};

use crate::{
    RemoteConfig,
    control::RemoteControl,
    meeting::{Ask, Limits, meet},
};

/// Makes sessions that run Python where an agent is.
///
/// ```no_run
/// # async fn example() -> abyme_core::Result<()> {
/// use abyme_core::{CodeInterpreterExt, InterpreterFactory};
/// use abyme_third_party_backend::{RemoteConfig, RemoteFactory};
///
/// let secret = std::env::var("ABYME_AGENT_SECRET").unwrap_or_default();
/// let factory = RemoteFactory::new(RemoteConfig::new("127.0.0.1:7411", secret));
/// let mut repl = factory.create().await?.start_session().await?;
/// assert_eq!(repl.run_code("6 * 7").await?.value.unwrap().to_string(), "42");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct RemoteFactory {
    shared: Arc<Shared>,
}

/// What all sessions of a factory share: nothing that code in them could reach.
#[derive(Debug)]
struct Shared {
    config: RemoteConfig,
    capabilities: Capabilities,
}

impl RemoteFactory {
    /// A factory with this configuration. Nothing is connected yet.
    pub fn new(config: RemoteConfig) -> Self {
        let capabilities = capabilities(&config);
        Self { shared: Arc::new(Shared { config, capabilities }) }
    }
}

#[async_trait]
impl InterpreterFactory for RemoteFactory {
    fn name(&self) -> &str {
        "remote"
    }

    fn capabilities(&self) -> &Capabilities {
        &self.shared.capabilities
    }

    async fn create(&self) -> Result<Box<dyn CodeInterpreter>> {
        if self.shared.config.secret.is_empty() {
            return Err(Error::new(
                ErrorKind::Config,
                "the remote backend has no secret: give it the one in the agent's ABYME_AGENT_SECRET",
            ));
        }
        Ok(Box::new(DriverInterpreter::new(self.shared.clone())))
    }
}

/// What is declared of sessions that run somewhere else.
///
/// The host of the declaration is the machine the code runs on, with the rights of the agent's user: the code
/// is a process on that kernel, and all that user can reach is open to it. The program's own machine is out
/// of its reach, unless it is the same one, which nobody can know from here.
fn capabilities(config: &RemoteConfig) -> Capabilities {
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

#[async_trait]
impl Launcher for Shared {
    type Reader = OwnedReadHalf;
    type Writer = OwnedWriteHalf;

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn launch(&self) -> Result<DriverSession<OwnedReadHalf, OwnedWriteHalf>> {
        let config = &self.config;
        let (line, session) = meet(config, Ask::Control).await?;
        let ask = Ask::Stream { session: &session, boot: BOOT, limits: Limits::of(config) };
        let (stream, _) = meet(config, ask).await?;
        let control = RemoteControl::new(line, &config.address).map_err(|error| {
            Error::new(ErrorKind::Unavailable, format!("cannot listen to the agent: {error}"))
                .with_source(error)
        })?;

        let (input, mut output) = stream.into_split();
        // Sources, because the Python over there may be of any version. A process that never reads them is
        // noticed by the handshake, which says how it ended.
        let driver = python::bundle(BundleKind::Sources, &python::sources_json(python::DRIVER));
        let _ = tokio::time::timeout(config.session.start_timeout, output.write_all(&driver)).await;
        Ok(DriverSession::new(input, output, Arc::new(control), config.session.clone()))
    }
}
