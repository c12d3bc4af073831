//! The backend as users see it: a factory, and sessions of it.

use std::{fmt, io::Read, path::PathBuf, sync::Arc, time::Duration};

use abyme_core::{
    Access, Capabilities, Cell, CodeInterpreter, HostFunctions, InterpreterFactory, Isolation, Observation,
    Result,
};
use abyme_driver::LazySession;
use abyme_wasi::Mount;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use crate::{
    config::WasmConfig,
    image::cache::{self, CacheState},
    progress::{PrepareProgress, Reporter},
    runtime::Runtime,
    session::WasmSession,
};

/// The backend that runs CPython in WebAssembly: its configuration, and the factory of its sessions.
///
/// Clones share the compiled interpreter and the slots for sessions, so one value serves a whole program. A
/// setter gives a value that shares nothing with the one before. Nothing is loaded until the first session,
/// or [`prepare`](Self::prepare).
///
/// A serialised `Wasm` is its configuration.
///
/// ```no_run
/// # async fn example() -> abyme_core::Result<()> {
/// use abyme_core::InterpreterFactoryExt;
/// use abyme_interpreter_wasm::Wasm;
///
/// let wasm = Wasm::new().memory_limit_bytes(256 << 20);
/// let mut repl = wasm.session().await?;
/// assert_eq!(repl.run_code("6 * 7").await?.value.unwrap().to_string(), "42");
/// # Ok(()) }
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(from = "WasmConfig", into = "WasmConfig")]
pub struct Wasm {
    shared: Arc<WasmShared>,
}

/// What all sessions of a factory share. Code in sessions cannot change any of it.
struct WasmShared {
    config: WasmConfig,
    capabilities: Capabilities,
    reporter: Reporter,
    runtime: OnceCell<Arc<Runtime>>,
}

impl Default for Wasm {
    fn default() -> Self {
        Self::from(WasmConfig::default())
    }
}

impl From<WasmConfig> for Wasm {
    fn from(config: WasmConfig) -> Self {
        Self::with(config, Reporter::default())
    }
}

impl From<Wasm> for WasmConfig {
    fn from(wasm: Wasm) -> Self {
        wasm.shared.config.clone()
    }
}

impl fmt::Debug for Wasm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Wasm").field(&self.shared.config).finish()
    }
}

/// Configuration.
impl Wasm {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the memory of a session, in bytes, Python itself included (about 35 MB, of which most is shared
    /// between sessions). Default 512 MiB; at most 4 GiB, which is all a 32-bit Python can address. Code that
    /// asks for more gets a `MemoryError`.
    pub fn memory_limit_bytes(self, bytes: u64) -> Self {
        self.set(|config| config.memory_limit_bytes = bytes)
    }

    /// Sets how much the files of a session may take together, in bytes of the host's memory. Default 64 MiB.
    pub fn disk_limit_bytes(self, bytes: u64) -> Self {
        self.set(|config| config.disk_limit_bytes = bytes)
    }

    /// Sets how many sessions may live at the same time. Default 1 000. Further ones wait, see
    /// [`queue_timeout`](Self::queue_timeout). Each reserves addresses
    /// ([`memory_limit_bytes`](Self::memory_limit_bytes) and a stack), not memory: lower this where addresses
    /// are limited (`ulimit -v`).
    pub fn max_sessions(self, sessions: u32) -> Self {
        self.set(|config| config.max_sessions = sessions)
    }

    /// Sets how long a session waits for a slot when [`max_sessions`](Self::max_sessions) live. Default 30 s.
    pub fn queue_timeout(self, timeout: Duration) -> Self {
        self.set(|config| config.queue_timeout = timeout)
    }

    /// Sets whether a session whose cell crashed or had to be killed comes back as it was before that cell.
    /// It comes back by a replay: its last cells run once more, with what they were told then (times, random
    /// bytes, results of calls) and with no effect but on the session. So that this takes some 20 ms at most,
    /// and longer where the session holds much memory, a checkpoint is taken now and then, which is a copy of
    /// what the session changed: before the cell after such a time of computing or 1 MiB of results (more
    /// beside much memory), and after one that was interrupted, was dropped, wrote files, or used files where
    /// there are mounts. Default true.
    pub fn checkpoints(self, on: bool) -> Self {
        self.set(|config| config.checkpoints = on)
    }

    /// Sets how much memory a checkpoint may hold, in bytes. A session that changed more when one is taken
    /// goes on without: a crash ends it then. A checkpoint of 100 MB takes 100 MB of the host's memory. It
    /// takes time for what was written since the last, or for all it holds where the system does not track
    /// writes (Linux does since 6.7). Inputs that are ASCII do not count: a checkpoint shares the host's copy
    /// of them, and keeps it whole; in a session that was restored from bytes they do. Default 256 MiB.
    pub fn checkpoint_limit_bytes(self, bytes: u64) -> Self {
        self.set(|config| config.checkpoint_limit_bytes = bytes)
    }

    /// Sets how much of this program's memory one message of a session may take, in bytes: a call with its
    /// arguments, a submission, or what a cell answers. Default 256 MiB. Python gets a `ValueError` for a
    /// value that would take more. As much may the calls hold that are in flight together, and the results
    /// that the session has not taken.
    pub fn max_message_bytes(self, bytes: u64) -> Self {
        self.set(|config| config.max_message_bytes = bytes)
    }

    /// Sets how long a cell may go on after its time limit before it is killed. It is interrupted at the
    /// limit and once more half-way through this time. Default 1.5 s, within the 2 s of contract clause C10.
    pub fn interrupt_grace(self, grace: Duration) -> Self {
        self.set(|config| config.interrupt_grace = grace)
    }

    /// Lets sessions read a file or directory of the host at the absolute path `guest`, such as `/data`, and
    /// never write it. Default none.
    ///
    /// Whatever the code in a session can read it can hand to a model or a tool: mount what may be read, no
    /// more.
    pub fn mount(self, host: impl Into<PathBuf>, guest: impl Into<String>) -> Self {
        self.set(|config| config.mounts.push(Mount { host: host.into(), guest: guest.into() }))
    }

    /// Sets where the prepared interpreter is kept, about 45 MB. Default: the environment variable
    /// `ABYME_CACHE_DIR`, or without it `abyme` in the platform's directory for caches (`~/.cache` on Linux).
    pub fn cache_dir(self, dir: impl Into<PathBuf>) -> Self {
        self.set(|config| config.cache_dir = Some(dir.into()))
    }

    /// Sets whether the prepared interpreter is kept on disk. Without, each process prepares it anew, in some
    /// seconds. Default true.
    pub fn cache(self, on: bool) -> Self {
        self.set(|config| config.cache = on)
    }

    /// Sets a function that is told each step of preparing the interpreter, which takes some seconds, once on
    /// a machine. Default: the steps go to the log.
    pub fn on_progress(self, report: impl Fn(PrepareProgress) + Send + Sync + 'static) -> Self {
        Self::with(self.into(), Reporter::new(report))
    }

    fn set(self, set: impl FnOnce(&mut WasmConfig)) -> Self {
        let reporter = self.shared.reporter.clone();
        let mut config = WasmConfig::from(self);
        set(&mut config);
        Self::with(config, reporter)
    }

    fn with(config: WasmConfig, reporter: Reporter) -> Self {
        let capabilities = capabilities(&config);
        Self { shared: Arc::new(WasmShared { config, capabilities, reporter, runtime: OnceCell::new() }) }
    }
}

impl Wasm {
    /// Loads the interpreter, preparing it first if this machine has not done so yet. The first session does
    /// the same.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](abyme_core::ErrorKind::Config) for a configuration that cannot work,
    /// [`ErrorKind::Unavailable`](abyme_core::ErrorKind::Unavailable) if WebAssembly cannot be run here. A
    /// cache that cannot be used is no error; see [`PrepareProgress::NotKept`].
    pub async fn prepare(&self) -> Result<()> {
        self.shared.runtime().await.map(|_| ())
    }

    /// Looks at the cache of the prepared interpreter without changing anything.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](abyme_core::ErrorKind::Unavailable) if WebAssembly cannot be run here.
    pub fn cache_state(&self) -> Result<CacheState> {
        cache::look(&self.shared.config)
    }

    fn interpreter(&self, session: LazySession<WasmSession>) -> Box<dyn CodeInterpreter> {
        Box::new(WasmInterpreter { shared: self.shared.clone(), session })
    }
}

impl WasmShared {
    /// The runtime of all sessions, loaded on first use. A failure is not remembered.
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
    capabilities.deterministic = true;
    capabilities.restores = config.checkpoints;
    capabilities.notes = vec![
        "Only Python's standard library is there: no numpy, no pandas, no pip, no network, no other \
         processes."
            .to_owned(),
        "Threads take turns, but calls made from them, from ThreadPoolExecutor or asyncio.to_thread are in \
         flight together."
            .to_owned(),
    ];
    if !config.mounts.is_empty() {
        let paths: Vec<_> = config.mounts.iter().map(|mount| mount.guest.as_str()).collect();
        capabilities.notes.push(format!("Files to read, not to write, are at {}.", paths.join(", ")));
    }
    capabilities
}

#[async_trait]
impl InterpreterFactory for Wasm {
    fn name(&self) -> &str {
        "wasm"
    }

    fn capabilities(&self) -> &Capabilities {
        &self.shared.capabilities
    }

    async fn create(&self) -> Result<Box<dyn CodeInterpreter>> {
        Ok(self.interpreter(LazySession::default()))
    }

    async fn restore(&self, snapshot: &[u8]) -> Result<Box<dyn CodeInterpreter>> {
        let session = WasmSession::restore(self.shared.runtime().await?, snapshot).await?;
        Ok(self.interpreter(LazySession::started(session)))
    }

    async fn restore_from(&self, snapshot: Box<dyn Read + Send>) -> Result<Box<dyn CodeInterpreter>> {
        let session = WasmSession::restore_from(self.shared.runtime().await?, snapshot).await?;
        Ok(self.interpreter(LazySession::started(session)))
    }
}

/// A session that starts on first use.
struct WasmInterpreter {
    shared: Arc<WasmShared>,
    session: LazySession<WasmSession>,
}

impl fmt::Debug for WasmInterpreter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmInterpreter").field("session", &self.session).finish_non_exhaustive()
    }
}

impl WasmInterpreter {
    async fn session(&mut self) -> Result<&mut WasmSession> {
        self.session.get_or_start(|| async { WasmSession::new(self.shared.runtime().await?).await }).await
    }
}

#[async_trait]
impl CodeInterpreter for WasmInterpreter {
    fn capabilities(&self) -> &Capabilities {
        &self.shared.capabilities
    }

    async fn start(&mut self) -> Result<()> {
        self.session().await?.start().await
    }

    async fn execute(&mut self, cell: Cell, host: &dyn HostFunctions) -> Result<Observation> {
        self.session().await?.execute(cell, host).await
    }

    async fn fork(&mut self) -> Result<Box<dyn CodeInterpreter>> {
        let fork = self.session().await?.fork().await?;
        Ok(Box::new(WasmInterpreter { shared: self.shared.clone(), session: LazySession::started(fork) }))
    }

    async fn snapshot(&mut self) -> Result<Vec<u8>> {
        self.session().await?.snapshot().await
    }

    async fn shutdown(&mut self) -> Result<()> {
        drop(self.session.end(WasmSession::ended));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_survives_serde() {
        let wasm = Wasm::new().mount("/srv/docs", "/docs").queue_timeout(Duration::from_secs(1));
        let text = serde_json::to_string(&wasm).unwrap();
        assert_eq!(serde_json::from_str::<Wasm>(&text).unwrap().shared.config, wasm.shared.config);
        assert_eq!(serde_json::from_str::<Wasm>("{}").unwrap().shared.config, WasmConfig::default());
    }

    #[test]
    fn clones_share_and_setters_do_not() {
        let wasm = Wasm::new().on_progress(drop);
        assert!(Arc::ptr_eq(&wasm.shared, &wasm.clone().shared));
        let other = wasm.clone().max_sessions(3);
        assert!(!Arc::ptr_eq(&wasm.shared, &other.shared));
        assert_eq!(format!("{:?}", other.shared.reporter), "Reporter(..)");
        assert_eq!(other.shared.config, WasmConfig { max_sessions: 3, ..WasmConfig::default() });
    }
}
