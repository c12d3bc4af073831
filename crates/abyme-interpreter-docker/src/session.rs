//! Starts sessions: a container for each, with the driver in it.
//!
//! The driver goes in as sources at first, and compiled from the third session on. Compiling takes about a
//! quarter of a session's start. Only the image's own Python can do it, in a container, which is not worth it
//! for a program with one session. So the start of the second session lets it happen in the background.

use std::sync::{
    Arc, LazyLock, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use abyme_core::{Capabilities, Error, ErrorKind, Result};
use abyme_driver::{
    DriverSession, DriverTimeouts, Launcher, Owner,
    python::{self, BOOT, BundleKind},
};
use async_trait::async_trait;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::{
    config::Config,
    container::{self, Input, Output, StartFailure, StartedContainer},
    engine::Client,
    engines::{Engine, Engines},
    image::{Image, Reporter},
};

/// The most bytes that a compiled driver may have; it has about 170 kB.
const MAX_DRIVER_BYTES: u64 = 8 << 20;

/// What the driver's bootstrap reads first.
type Bundle = Arc<[u8]>;

/// What all sessions of one [`Docker`](crate::Docker) share. Code in the sessions cannot reach it.
#[derive(Debug)]
pub(crate) struct DockerLauncher {
    pub(crate) config: Arc<Config>,
    pub(crate) capabilities: Capabilities,
    pub(crate) reporter: Reporter,
    owner: LazyLock<Owner>,
    engines: Engines,
    sources: LazyLock<Bundle>,
    launches: AtomicUsize,
    compiled: Arc<OnceLock<CompiledDriver>>,
}

/// The driver as the Python of one image has compiled it.
#[derive(Debug)]
struct CompiledDriver {
    image_id: String,
    bundle: Bundle,
}

impl DockerLauncher {
    pub(crate) fn new(config: Config, capabilities: Capabilities, reporter: Reporter) -> Self {
        let sources = || python::bundle(BundleKind::Sources, &python::sources_json(python::DRIVER)).into();
        Self {
            config: Arc::new(config),
            capabilities,
            reporter,
            owner: LazyLock::new(Owner::this),
            engines: Engines::default(),
            sources: LazyLock::new(sources),
            launches: AtomicUsize::new(0),
            compiled: Arc::default(),
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

    async fn start_container<'e>(&self, engine: &'e Engine) -> Result<(StartedContainer, Image, &'e Client)> {
        let client = self.client(engine).await?;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let image = engine.image(client, &self.config, &self.reporter).await?;
            let start = container::start(
                client.clone(),
                self.config.clone(),
                self.owner.clone(),
                image.clone(),
                BOOT,
            );
            // If this future is dropped, the container is made all the same, and removed at once.
            match client.thread.run_to_end(start).await? {
                Ok(started) => return Ok((started, image, client)),
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

    /// The driver for one more session in this image.
    fn bundle(&self, image: &Image) -> Bundle {
        match self.compiled.get() {
            Some(compiled) if compiled.image_id == image.id => compiled.bundle.clone(),
            _ => self.sources.clone(),
        }
    }

    /// Lets the image's Python compile the driver. If that fails, the sources are used on.
    fn compile_in_background(&self, client: &Client, image: Image) {
        let limit = self.config.start_timeout;
        // The compiled driver is not needed once the factory is dropped.
        let compiled = Arc::downgrade(&self.compiled);
        let start = container::start(
            client.clone(),
            self.config.clone(),
            self.owner.clone(),
            image.clone(),
            python::PROBE,
        );
        client.thread.spawn(async move {
            let code = timeout(limit, compile(start)).await.ok().flatten();
            match (code, compiled.upgrade()) {
                (Some(code), Some(compiled)) => {
                    let bundle = python::bundle(BundleKind::Compiled, &code).into();
                    let _ = compiled.set(CompiledDriver { image_id: image.id, bundle });
                }
                _ => tracing::debug!("the driver was not compiled ahead"),
            }
        });
    }
}

/// The driver compiled by the Python in the container that `start` starts.
async fn compile(start: impl Future<Output = Result<StartedContainer, StartFailure>>) -> Option<Vec<u8>> {
    let StartedContainer { container, output, mut input } = start.await.ok()?;
    input.write_all(&python::sources_json(python::DRIVER)).await.ok()?;
    input.shutdown().await.ok()?;
    let mut answer = Vec::new();
    output.take(MAX_DRIVER_BYTES).read_to_end(&mut answer).await.ok()?;
    container.remove().await;
    let end = answer.iter().position(|&byte| byte == b'\n')?;
    let is_whole = serde_json::from_slice::<serde_json::Value>(&answer[..end]).is_ok();
    (is_whole && answer.len() > end + 1).then(|| answer.split_off(end + 1))
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
        let (started, image, client) = self.engines.start(&self.config, &self.owner, start).await?;
        let StartedContainer { container, output, mut input } = started;
        let timeouts = DriverTimeouts {
            start_timeout: self.config.start_timeout,
            interrupt_grace: self.config.interrupt_grace,
        };
        // The handshake detects a container that ends or never reads, and says how it ended.
        let _ = timeout(timeouts.start_timeout, input.write_all(&self.bundle(&image))).await;
        if self.launches.fetch_add(1, Ordering::Relaxed) == 1 {
            self.compile_in_background(client, image);
        }
        let session = DriverSession::new(output, input, container, timeouts);
        Ok(session.max_message_bytes(self.config.max_message_bytes))
    }
}
