//! The backend as users see it: a factory, and sessions of it.

use std::sync::Arc;

use abyme_core::{
    Access, Capabilities, Cell, CodeInterpreter, HostFunctions, InterpreterFactory, Isolation, Observation,
    Result,
};
use abyme_driver::LazySession;
use async_trait::async_trait;
use tokio::sync::OnceCell;

use crate::{
    config::WasmConfig,
    image::cache::{self, CacheState},
    progress::{Progress, Reporter},
    runtime::Runtime,
    session::Live,
};

/// Makes sessions that run CPython in WebAssembly. Clones share the compiled interpreter and the places for sessions,
/// so one factory serves a whole program.
///
/// ```no_run
/// # async fn example() -> abyme_core::Result<()> {
/// use abyme_core::{CodeInterpreterExt, InterpreterFactory};
/// use abyme_interpreter_wasm::{WasmConfig, WasmFactory};
///
/// let factory = WasmFactory::new(WasmConfig::new().memory_limit_bytes(256 << 20));
/// let mut repl = factory.create().await?.start_session().await?;
/// assert_eq!(repl.run_code("6 * 7").await?.value.unwrap().to_string(), "42");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct WasmFactory {
    shared: Arc<Shared>,
}

/// What all sessions of a factory share: nothing that code in them could change.
#[derive(Debug)]
struct Shared {
    config: WasmConfig,
    capabilities: Capabilities,
    reporter: Reporter,
    runtime: OnceCell<Arc<Runtime>>,
}

impl Default for WasmFactory {
    fn default() -> Self {
        Self::new(WasmConfig::default())
    }
}

impl WasmFactory {
    /// A factory with this configuration. Nothing is loaded yet.
    pub fn new(config: WasmConfig) -> Self {
        Self::with_progress(config, None)
    }

    /// The same, which tells `report` what it does while it prepares the interpreter: that takes some seconds, once on
    /// a machine.
    pub fn reporting(config: WasmConfig, report: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self::with_progress(config, Some(Reporter::new(report)))
    }

    fn with_progress(config: WasmConfig, reporter: Option<Reporter>) -> Self {
        let capabilities = capabilities(&config);
        let reporter = reporter.unwrap_or_default();
        Self { shared: Arc::new(Shared { config, capabilities, reporter, runtime: OnceCell::new() }) }
    }

    /// A session of its own, not started.
    pub fn session(&self) -> WasmInterpreter {
        WasmInterpreter { shared: self.shared.clone(), session: LazySession::default() }
    }

    /// Loads the interpreter, preparing it first if this machine has not done so yet. The first session does the same.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](abyme_core::ErrorKind::Config) for a configuration that cannot work,
    /// [`ErrorKind::Unavailable`](abyme_core::ErrorKind::Unavailable) if WebAssembly cannot be run here. A cache that
    /// cannot be used is no error; see [`Progress::NotKept`].
    pub async fn warm(&self) -> Result<()> {
        self.shared.runtime().await.map(|_| ())
    }

    /// What is in the cache, without changing anything.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](abyme_core::ErrorKind::Unavailable) if WebAssembly cannot be run here.
    pub fn cache_state(&self) -> Result<CacheState> {
        cache::look(&self.shared.config)
    }
}

impl Shared {
    /// What sessions run in, loaded on first use. A failure is not remembered.
    async fn runtime(&self) -> Result<Arc<Runtime>> {
        let load = || async { Runtime::load(self.config.clone(), self.reporter.clone()).await.map(Arc::new) };
        self.runtime.get_or_try_init(load).await.cloned()
    }
}

fn capabilities(config: &WasmConfig) -> Capabilities {
    let mut capabilities = Capabilities::new(Isolation::Wasm);
    capabilities.network = Access::Denied;
    capabilities.host_files = if config.mounts.is_empty() { Access::Denied } else { Access::AllowList };
    capabilities.environment = Access::Denied;
    capabilities.processes = Access::Denied;
    capabilities.memory_limit_bytes = Some(config.memory_limit_bytes);
    capabilities.interrupt = true;
    capabilities.crash_isolated = true;
    capabilities.concurrent_calls = true;
    capabilities.fork = true;
    capabilities.snapshot = true;
    capabilities.restores = config.checkpoints;
    capabilities.notes = vec![
        "Only Python's standard library is there: no numpy, no pandas, no pip, no network, no other processes."
            .to_owned(),
        "Threads take turns, but calls made from them, from ThreadPoolExecutor or asyncio.to_thread are in flight \
         together."
            .to_owned(),
    ];
    if !config.mounts.is_empty() {
        let paths: Vec<_> = config.mounts.iter().map(|mount| mount.guest.as_str()).collect();
        capabilities.notes.push(format!("Files to read, not to write, are at {}.", paths.join(", ")));
    }
    capabilities
}

#[async_trait]
impl InterpreterFactory for WasmFactory {
    fn name(&self) -> &str {
        "wasm"
    }

    fn capabilities(&self) -> &Capabilities {
        &self.shared.capabilities
    }

    async fn create(&self) -> Result<Box<dyn CodeInterpreter>> {
        Ok(Box::new(self.session()))
    }

    async fn restore(&self, snapshot: &[u8]) -> Result<Box<dyn CodeInterpreter>> {
        let live = Live::restore(self.shared.runtime().await?, snapshot).await?;
        Ok(Box::new(WasmInterpreter { shared: self.shared.clone(), session: LazySession::started(live) }))
    }
}

/// A session in WebAssembly. See [`WasmFactory`].
#[derive(Debug)]
pub struct WasmInterpreter {
    shared: Arc<Shared>,
    session: LazySession<Live>,
}

impl WasmInterpreter {
    /// A session with the default configuration, in a factory of its own. Several sessions are better made by one
    /// [`WasmFactory`]: it loads the interpreter once.
    pub fn new() -> Self {
        WasmFactory::new(WasmConfig::new().max_sessions(1)).session()
    }

    /// A factory with the default configuration.
    pub fn factory() -> WasmFactory {
        WasmFactory::default()
    }

    async fn live(&mut self) -> Result<&mut Live> {
        self.session.get_or_start(|| async { Live::new(self.shared.runtime().await?).await }).await
    }
}

impl Default for WasmInterpreter {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl CodeInterpreter for WasmInterpreter {
    fn capabilities(&self) -> &Capabilities {
        &self.shared.capabilities
    }

    async fn start(&mut self) -> Result<()> {
        self.live().await?.start().await
    }

    async fn execute(&mut self, cell: Cell, host: &dyn HostFunctions) -> Result<Observation> {
        self.live().await?.execute(cell, host).await
    }

    async fn fork(&mut self) -> Result<Box<dyn CodeInterpreter>> {
        let live = self.live().await?.fork().await?;
        Ok(Box::new(WasmInterpreter { shared: self.shared.clone(), session: LazySession::started(live) }))
    }

    async fn snapshot(&mut self) -> Result<Vec<u8>> {
        self.live().await?.save().await
    }

    async fn shutdown(&mut self) -> Result<()> {
        drop(self.session.end(Live::ended));
        Ok(())
    }
}
