//! Starts sessions: two connections to the agent and a driver at the end of one of them.

use std::sync::Arc;

use abyme_core::{Capabilities, Error, ErrorKind, Result};
use abyme_driver::{
    DriverSession, DriverTimeouts, Launcher,
    python::{self, BOOT, BundleKind},
};
use async_trait::async_trait;
use tokio::{
    io::AsyncWriteExt,
    net::tcp::{OwnedReadHalf, OwnedWriteHalf},
};

use crate::{
    config::Config,
    control::RemoteControl,
    handshake::{Limits, Request, connect},
};

/// What all sessions of one [`Remote`](crate::Remote) share. Code in the sessions cannot reach it.
#[derive(Debug)]
pub(crate) struct RemoteLauncher {
    pub(crate) config: Config,
    pub(crate) capabilities: Capabilities,
}

#[async_trait]
impl Launcher for RemoteLauncher {
    type Reader = OwnedReadHalf;
    type Writer = OwnedWriteHalf;

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn launch(&self) -> Result<DriverSession<OwnedReadHalf, OwnedWriteHalf>> {
        let config = &self.config;
        let (line, session) = connect(config, Request::Control).await?;
        let request = Request::Stream { session: &session, boot: BOOT, limits: Limits::of(config) };
        let (stream, _) = connect(config, request).await?;
        let control = RemoteControl::new(line, &config.address).map_err(|error| {
            Error::new(ErrorKind::Unavailable, format!("cannot listen to the agent: {error}"))
                .with_source(error)
        })?;

        let (input, mut output) = stream.into_split();
        // Sources, because the other machine's Python may be of any version. The handshake of the driver
        // session detects a process that never reads them, and says how it ended.
        let driver = python::bundle(BundleKind::Sources, &python::sources_json(python::DRIVER));
        let _ = tokio::time::timeout(config.start_timeout, output.write_all(&driver)).await;
        let timeouts =
            DriverTimeouts { start_timeout: config.start_timeout, interrupt_grace: config.interrupt_grace };
        Ok(DriverSession::new(input, output, Arc::new(control), timeouts))
    }
}
