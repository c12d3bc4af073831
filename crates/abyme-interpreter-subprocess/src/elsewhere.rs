//! The sessions of systems that are no Unix: there are none, and it is said so when one is to start. Programs
//! build all the same, so that their other backends can be used there.

use std::sync::Arc;

use abyme_core::{Capabilities, Error, ErrorKind, Result};
use abyme_driver::{DriverSession, Launcher};
use async_trait::async_trait;
use tokio::io::{Empty, Sink};

use crate::config::Config;

/// What all sessions of one [`Subprocess`](crate::Subprocess) would share.
#[derive(Debug)]
pub(crate) struct SubprocessLauncher {
    pub(crate) config: Config,
    open: Capabilities,
}

impl SubprocessLauncher {
    /// `open` is what the configuration declares.
    pub(crate) fn new(config: Config, open: Capabilities) -> Self {
        Self { config, open }
    }

    #[allow(clippy::unused_self, reason = "on Unix there is something to share")]
    pub(crate) fn with_config(&self, config: Config, open: Capabilities) -> Self {
        Self::new(config, open)
    }

    pub(crate) fn unstarted(&self) -> Self {
        Self::new(self.config.clone(), self.open.clone())
    }

    pub(crate) fn with_driver(self, _files: Arc<[(String, String)]>) -> Self {
        self
    }
}

#[async_trait]
impl Launcher for SubprocessLauncher {
    type Reader = Empty;
    type Writer = Sink;

    fn capabilities(&self) -> &Capabilities {
        &self.open
    }

    async fn launch(&self) -> Result<DriverSession<Empty, Sink>> {
        let message = "Python cannot run in a child process here, because that needs Unix: use the wasm or \
                       docker backend, or run this program in WSL";
        Err(Error::new(ErrorKind::Unavailable, message))
    }
}
