//! Starts sessions: a container for each, with the driver in it.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use abyme_core::{Capabilities, Error, ErrorKind, Result};
use abyme_driver::{DriverCode, DriverSession, DriverTimeouts, Launcher, Owner};
use async_trait::async_trait;
use tokio::{io::AsyncWriteExt, time::timeout};

use crate::{
    config::Config,
    container::{self, Input, Output, StartFailure, StartedContainer},
    engine::Client,
    engines::{Engine, Engines},
    image::{Image, Reporter},
};

/// What all sessions of one [`Docker`](crate::Docker) share. Code in the sessions cannot reach it.
#[derive(Debug)]
pub(crate) struct DockerLauncher {
    pub(crate) config: Arc<Config>,
    pub(crate) capabilities: Capabilities,
    pub(crate) reporter: Reporter,
    owner: LazyLock<Owner>,
    engines: Engines,
    /// By the id of the image.
    codes: Mutex<HashMap<String, DriverCode>>,
}

impl DockerLauncher {
    pub(crate) fn new(config: Config, capabilities: Capabilities, reporter: Reporter) -> Self {
        Self {
            config: Arc::new(config),
            capabilities,
            reporter,
            owner: LazyLock::new(Owner::this),
            engines: Engines::default(),
            codes: Mutex::default(),
        }
    }

    /// The engines of the configuration.
    pub(crate) async fn engines(&self) -> Result<&[Engine]> {
        self.engines.all(&self.config).await
    }

    /// The connection to an engine.
    pub(crate) async fn client<'e>(&self, engine: &'e Engine) -> Result<&'e Client> {
        engine.client(&self.owner).await
    }

    /// Makes each engine have the image.
    pub(crate) async fn prepare(&self) -> Result<()> {
        for engine in self.engines().await? {
            engine.image(self.client(engine).await?, &self.config, &self.reporter).await?;
        }
        Ok(())
    }

    /// Removes the containers of programs that have ended.
    pub(crate) async fn sweep(&self) -> Result<usize> {
        let mut swept = 0;
        for engine in self.engines().await? {
            swept += container::sweep(self.client(engine).await?, &self.owner).await?;
        }
        Ok(swept)
    }

    /// Waits until everything that is to be removed has been removed.
    pub(crate) async fn settled(&self) {
        for engine in self.engines.known() {
            engine.settled().await;
        }
    }

    async fn start_container(&self, engine: &Engine) -> Result<(StartedContainer, Image)> {
        let client = self.client(engine).await?;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let image = engine.image(client, &self.config, &self.reporter).await?;
            let start =
                container::start(client.clone(), self.config.clone(), self.owner.clone(), image.clone());
            // If this future is dropped, the container is made all the same, and removed at once.
            match client.thread.run_to_end(start).await? {
                Ok(started) => return Ok((started, image)),
                // The image was removed after it was looked for.
                Err(StartFailure::ImageMissing) if attempts < 2 => engine.forget_image().await,
                Err(StartFailure::ImageMissing) => {
                    let what = format!("the image `{}` is removed over and over", self.config.image);
                    return Err(Error::new(ErrorKind::Unavailable, what));
                }
                Err(StartFailure::Other(error)) => return Err(error),
            }
        }
    }

    /// The driver as the Python of this image compiled it.
    fn code(&self, image: &Image) -> DriverCode {
        let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        codes.entry(image.id.clone()).or_default().clone()
    }
}

#[async_trait]
impl Launcher for DockerLauncher {
    type Reader = Output;
    type Writer = Input;

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn launch(&self) -> Result<DriverSession<Output, Input>> {
        self.config.check()?;
        let start = |engine| self.start_container(engine);
        let (started, image) = self.engines.start(&self.config, &self.owner, start).await?;
        let StartedContainer { container, output, mut input } = started;
        let timeouts = DriverTimeouts {
            start_timeout: self.config.start_timeout,
            interrupt_grace: self.config.interrupt_grace,
        };
        let code = self.code(&image);
        // The handshake detects a container that ends or never reads, and says how it ended.
        let _ = timeout(timeouts.start_timeout, input.write_all(&code.bundle())).await;
        let session = DriverSession::new(output, input, container, timeouts).keeps_code(&code);
        Ok(session.max_message_bytes(self.config.max_message_bytes))
    }
}
