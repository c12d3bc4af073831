//! The backend as users see it: a factory, and sessions of it.

use std::sync::Arc;

use abyme_core::{
    Access, Capabilities, Cell, CodeInterpreter, HostFunctions, InterpreterFactory, Isolation, Observation,
    Result,
};
use abyme_driver::{DriverInterpreter, DriverSession, Launcher};
use async_trait::async_trait;
use tokio::sync::{Mutex, OnceCell};

use crate::{
    DockerConfig, Engine,
    client::Client,
    driver::Driver,
    image::{self, Image},
    owner::Owner,
    progress::{Progress, Reporter},
    session,
    streams::{Input, Output},
    sweep,
};

/// Makes sessions that run Python in a container. Clones share the connection to the engine.
///
/// ```no_run
/// # async fn example() -> abyme_core::Result<()> {
/// use abyme_core::{CodeInterpreterExt, InterpreterFactory};
/// use abyme_interpreter_docker::{DockerConfig, DockerFactory};
///
/// let factory = DockerFactory::new(DockerConfig::new().image("python:3.12-slim"));
/// let mut repl = factory.create().await?.start_session().await?;
/// assert_eq!(repl.run_code("6 * 7").await?.value.unwrap().to_string(), "42");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct DockerFactory {
    shared: Arc<Shared>,
}

/// What all sessions of a factory share: nothing that code in them could reach.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Arc<DockerConfig>,
    capabilities: Capabilities,
    pub(crate) driver: Arc<Driver>,
    pub(crate) owner: Owner,
    reporter: Reporter,
    client: OnceCell<Client>,
    image: Mutex<Option<Image>>,
}

impl Default for DockerFactory {
    fn default() -> Self {
        Self::new(DockerConfig::default())
    }
}

impl DockerFactory {
    /// A factory with this configuration. The engine is not asked for anything yet.
    pub fn new(config: DockerConfig) -> Self {
        Self::with_reporter(config, Reporter::default())
    }

    /// The same, which tells `report` how far an image is that has to be fetched.
    pub fn reporting(config: DockerConfig, report: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self::with_reporter(config, Reporter::new(report))
    }

    fn with_reporter(config: DockerConfig, reporter: Reporter) -> Self {
        let shared = Shared {
            capabilities: capabilities(&config),
            config: Arc::new(config),
            driver: Arc::new(Driver::new()),
            owner: Owner::this(),
            reporter,
            client: OnceCell::new(),
            image: Mutex::new(None),
        };
        Self { shared: Arc::new(shared) }
    }

    /// A session of its own, not started.
    pub fn session(&self) -> DockerInterpreter {
        DockerInterpreter(DriverInterpreter::new(self.shared.clone()))
    }

    /// What the engine says of itself, and whether it has the image. Fetches nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](abyme_core::ErrorKind::Unavailable) if no engine answers, saying where it was looked
    /// for; [`ErrorKind::Config`](abyme_core::ErrorKind::Config) if the Docker context does not exist.
    pub async fn engine(&self) -> Result<Engine> {
        self.shared.client().await?.engine(&self.shared.config.image).await
    }

    /// Makes the engine have the image, fetching it where that is allowed. The first session does the same.
    ///
    /// # Errors
    /// Those of [`engine`](Self::engine), and
    /// [`ErrorKind::Unavailable`](abyme_core::ErrorKind::Unavailable) if the image cannot be had.
    pub async fn warm(&self) -> Result<()> {
        let client = self.shared.client().await?;
        self.shared.image(client).await.map(|_| ())
    }

    /// Removes containers of programs on this machine that ended without doing so, as when they were killed; how many.
    /// The first use of a factory does the same in the background.
    ///
    /// # Errors
    /// Those of [`engine`](Self::engine).
    pub async fn sweep(&self) -> Result<usize> {
        sweep::sweep(self.shared.client().await?, &self.shared.owner).await
    }
}

impl Shared {
    /// The connection, made on first use. A failure is not remembered.
    pub(crate) async fn client(&self) -> Result<&Client> {
        self.client
            .get_or_try_init(|| async {
                let client = Client::connect(&self.config).await?;
                sweep::in_background(&client, &self.owner);
                Ok(client)
            })
            .await
    }

    /// The image, looked for on first use. Others wait while it is fetched.
    pub(crate) async fn image(&self, client: &Client) -> Result<Image> {
        let mut known = self.image.lock().await;
        if let Some(image) = &*known {
            return Ok(image.clone());
        }
        let found = image::ensure(client, &self.config, &self.reporter).await?;
        Ok(known.insert(found).clone())
    }

    /// The image is to be looked for again.
    pub(crate) async fn forget_image(&self) {
        *self.image.lock().await = None;
    }
}

#[async_trait]
impl Launcher for Shared {
    type Reader = Output;
    type Writer = Input;

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn launch(&self) -> Result<DriverSession<Output, Input>> {
        session::launch(self).await
    }
}

fn capabilities(config: &DockerConfig) -> Capabilities {
    let mut capabilities = Capabilities::new(Isolation::Container);
    capabilities.network = if config.network.is_some() { Access::Open } else { Access::Denied };
    capabilities.host_files = if config.mounts.is_empty() { Access::Denied } else { Access::AllowList };
    capabilities.environment = Access::AllowList;
    // Programs of the image can be started, within the container and its limits.
    capabilities.processes = Access::Open;
    capabilities.memory_limit_bytes = config.memory_limit_bytes;
    capabilities.interrupt = true;
    capabilities.crash_isolated = true;
    capabilities.threads = true;
    capabilities.concurrent_calls = true;
    capabilities.native_packages = true;
    capabilities.notes = vec![
        "Packages can be imported if the container's image has them; files can be written in the working directory \
         and in /tmp."
            .to_owned(),
    ];
    if config.network.is_none() {
        capabilities.notes.push("There is no network: nothing can be downloaded or installed.".to_owned());
    }
    let at = |writable: bool| -> Vec<&str> {
        let chosen = config.mounts.iter().filter(|bind| bind.writable == writable);
        chosen.map(|bind| bind.container.as_str()).collect()
    };
    for (writable, what) in [(false, "Files to read, not to write,"), (true, "Files to read and write")] {
        if !at(writable).is_empty() {
            capabilities.notes.push(format!("{what} are at {}.", at(writable).join(", ")));
        }
    }
    capabilities
}

#[async_trait]
impl InterpreterFactory for DockerFactory {
    fn name(&self) -> &str {
        "docker"
    }

    fn capabilities(&self) -> &Capabilities {
        &self.shared.capabilities
    }

    async fn create(&self) -> Result<Box<dyn CodeInterpreter>> {
        Ok(Box::new(self.session()))
    }
}

/// A session in a container. See [`DockerFactory`].
#[derive(Debug)]
pub struct DockerInterpreter(DriverInterpreter<Shared>);

impl DockerInterpreter {
    /// A session with the default configuration, in a factory of its own. Several sessions are better made by one
    /// [`DockerFactory`]: it connects to the engine once.
    pub fn new() -> Self {
        DockerFactory::default().session()
    }

    /// A factory with the default configuration.
    pub fn factory() -> DockerFactory {
        DockerFactory::default()
    }
}

impl Default for DockerInterpreter {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl CodeInterpreter for DockerInterpreter {
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
