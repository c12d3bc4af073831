//! The shared conformance suite over the remote backend: every session through one agent on loopback.

use abyme_conformance::Harness;
use abyme_core::{Capabilities, CodeInterpreter, InterpreterFactory, Result};
use abyme_third_party_backend::{LocalAgent, Remote};
use async_trait::async_trait;
use tokio::sync::OnceCell;

/// An agent that is started when the first case needs it, and ends with the suite.
struct OnLoopback {
    capabilities: Capabilities,
    agent: OnceCell<(Remote, LocalAgent)>,
}

impl OnLoopback {
    fn new() -> Self {
        let capabilities = Remote::default().capabilities().clone();
        Self { capabilities, agent: OnceCell::new() }
    }

    async fn remote(&self) -> Result<&Remote> {
        let start = || async {
            let agent = LocalAgent::start()?;
            Ok((agent.remote(), agent))
        };
        self.agent.get_or_try_init(start).await.map(|(remote, _)| remote)
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
        self.remote().await.map(|_| ()).map_err(|error| error.to_string())
    }

    async fn session(&self) -> Result<((), Box<dyn CodeInterpreter>)> {
        Ok(((), self.remote().await?.create().await?))
    }
}

abyme_conformance::interpreter_suite! {
    harness: OnLoopback::new(),
    xfail: []
}
