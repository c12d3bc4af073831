//! The shared conformance suite over the remote backend: every session through one agent on loopback.

use abyme_conformance::Harness;
use abyme_core::{Capabilities, CodeInterpreter, InterpreterFactory, Result};
use abyme_third_party_backend::{LocalAgent, RemoteConfig, RemoteFactory};
use async_trait::async_trait;
use tokio::sync::OnceCell;

/// An agent that is started when the first case needs it, and ends with the suite.
struct OnLoopback {
    capabilities: Capabilities,
    agent: OnceCell<(RemoteFactory, LocalAgent)>,
}

impl OnLoopback {
    fn new() -> Self {
        let capabilities = RemoteFactory::new(RemoteConfig::default()).capabilities().clone();
        Self { capabilities, agent: OnceCell::new() }
    }

    async fn factory(&self) -> Result<&RemoteFactory> {
        let start = || async {
            let agent = LocalAgent::start()?;
            Ok((RemoteFactory::new(agent.config()), agent))
        };
        self.agent.get_or_try_init(start).await.map(|(factory, _)| factory)
    }
}

#[async_trait]
impl Harness for OnLoopback {
    type Guard = ();

    fn name(&self) -> &str {
        "remote"
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn prerequisite(&self) -> Result<(), String> {
        self.factory().await.map(|_| ()).map_err(|error| error.to_string())
    }

    async fn session(&self) -> Result<((), Box<dyn CodeInterpreter>)> {
        Ok(((), self.factory().await?.create().await?))
    }
}

abyme_conformance::interpreter_suite! {
    harness: OnLoopback::new(),
    xfail: []
}
