//! The backend as users see it: [`Docker`], the configuration and the factory of its sessions.

use std::{path::PathBuf, sync::Arc, time::Duration};

use abyme_core::{Access, Capabilities, CodeInterpreter, InterpreterFactory, Isolation, Result};
use abyme_driver::DriverInterpreter;
use async_trait::async_trait;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use crate::{
    config::{Bind, Config, DEFAULT_IMAGE, Pull},
    engine::EngineInfo,
    image::{PullProgress, Reporter},
    session::DockerLauncher,
};

/// Python in a container: the configuration and the factory of its sessions.
///
/// The defaults are the strictest that Python runs under. Clones share the connection to the engine.
/// Serialising writes the configuration; every field has a default.
///
/// ```no_run
/// # async fn example() -> abyme_core::Result<()> {
/// use abyme_core::{CodeInterpreter, InterpreterFactoryExt};
/// use abyme_interpreter_docker::Docker;
///
/// let docker = Docker::new().image("python:3.12-slim");
/// let mut session = docker.session().await?;
/// assert_eq!(session.run_code("6 * 7").await?.value.unwrap().to_string(), "42");
/// session.shutdown().await?;
/// docker.shutdown().await;
/// # Ok(()) }
/// ```
///
/// # The end
/// [`Session::shutdown`](abyme_core::Session) removes the container of a session before it returns. The
/// container of a session that was dropped is removed in the background. [`shutdown`](Self::shutdown) waits
/// for that: call it before the program ends. Without it, the drop of the last value that uses the connection
/// blocks its thread until the containers are removed, for at most 1 s.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Config", into = "Config")]
pub struct Docker {
    launcher: Arc<DockerLauncher>,
}

impl Default for Docker {
    fn default() -> Self {
        Self::from(Config::default())
    }
}

impl From<Config> for Docker {
    fn from(config: Config) -> Self {
        Self::build(config, Reporter::default())
    }
}

impl From<Docker> for Config {
    fn from(docker: Docker) -> Self {
        (*docker.launcher.config).clone()
    }
}

impl Docker {
    /// The image that is used if [`image`](Self::image) sets no other.
    pub const DEFAULT_IMAGE: &str = DEFAULT_IMAGE;

    /// The defaults. Nothing is sent to the engine yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the engine's address: `unix://`, `tcp://`, `http://`, `https://` or `ssh://`. Default:
    /// `DOCKER_HOST`, or without it the Docker client's current context, or without one
    /// `/var/run/docker.sock`.
    ///
    /// `DOCKER_HOST` may name several engines, with commas between: see [`hosts`](Self::hosts).
    pub fn host(self, address: impl Into<String>) -> Self {
        self.hosts([address.into()])
    }

    /// Sets the addresses of several engines, each in the form of [`host`](Self::host). One factory, and one
    /// pool, then spans them.
    ///
    /// A session starts on the engine where sessions then claim the smallest share of the memory or of the
    /// processors, by their limits, those of other programs included. An engine that cannot start it comes
    /// last for a while (5 s, then twice as long each time it fails again, at most 2 min), and the next best
    /// is taken. A session lives and ends on its engine: where an engine goes away in mid-run, the run goes
    /// on in a new session elsewhere, as it does when a session dies.
    ///
    /// Each engine needs the image: [`prepare`](Self::prepare) sees to it.
    ///
    /// ```
    /// use abyme_interpreter_docker::Docker;
    ///
    /// let docker = Docker::new().hosts(["unix:///var/run/docker.sock", "ssh://me@second"]);
    /// # drop(docker);
    /// ```
    pub fn hosts(self, addresses: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.with(|config| config.hosts = addresses.into_iter().map(Into::into).collect())
    }

    /// Sets the image. Any with Python 3.9 or later works; nothing is installed in it. Default
    /// [`DEFAULT_IMAGE`](Self::DEFAULT_IMAGE).
    pub fn image(self, image: impl Into<String>) -> Self {
        self.with(|config| config.image = image.into())
    }

    /// Sets when the image is fetched from its registry. Default [`Pull::Missing`].
    pub fn pull(self, pull: Pull) -> Self {
        self.with(|config| config.pull = pull)
    }

    /// Sets what is called with the progress of an image that is fetched. By default the progress is logged.
    /// Not part of the serialised configuration.
    pub fn on_progress(self, report: impl Fn(PullProgress) + Send + Sync + 'static) -> Self {
        Self::build(self.into(), Reporter::new(report))
    }

    /// Sets the Python to run in the image: a name on its `PATH`, or a path. Default `python3`.
    pub fn python(self, python: impl Into<String>) -> Self {
        self.with(|config| config.python = python.into())
    }

    /// Sets the memory of a session with all its processes and files, in bytes. There is no swap on top.
    /// Default 512 MiB; `None` is no limit.
    pub fn memory_limit_bytes(self, bytes: impl Into<Option<u64>>) -> Self {
        self.with(|config| config.memory_limit_bytes = bytes.into())
    }

    /// Sets how many processors a session may use at a time. Default 1; `None` is all of them.
    pub fn cpus(self, cpus: impl Into<Option<f64>>) -> Self {
        self.with(|config| config.cpus = cpus.into())
    }

    /// Sets the number of processes and threads of a session, its own first two included. Default 128; `None`
    /// is no limit.
    pub fn max_processes(self, processes: impl Into<Option<u32>>) -> Self {
        self.with(|config| config.max_processes = processes.into())
    }

    /// Sets the number of open files of a process. Default 1 024.
    pub fn max_open_files(self, files: u64) -> Self {
        self.with(|config| config.max_open_files = files)
    }

    /// Sets the size of the working directory, in bytes. It is in memory and counts there. Default 64 MiB.
    pub fn work_limit_bytes(self, bytes: u64) -> Self {
        self.with(|config| config.work_limit_bytes = bytes)
    }

    /// Sets the size of `/tmp`, in bytes. It is in memory and counts there. Default 64 MiB.
    pub fn tmp_limit_bytes(self, bytes: u64) -> Self {
        self.with(|config| config.tmp_limit_bytes = bytes)
    }

    /// Sets the size of `/dev/shm`, in bytes, which locks and shared memory of `multiprocessing` need. It is
    /// in memory and counts there. Default 64 MiB; 0 is none.
    pub fn shm_limit_bytes(self, bytes: u64) -> Self {
        self.with(|config| config.shm_limit_bytes = bytes)
    }

    /// Connects sessions to a network of the engine's, such as `bridge`. Default: the session has no network.
    pub fn network(self, name: impl Into<String>) -> Self {
        self.with(|config| config.network = Some(name.into()))
    }

    /// Lets sessions read a file or directory of the engine's machine. `host` is its path there, `container`
    /// the absolute path in sessions.
    ///
    /// The code in a session can hand everything that it can read to a model or a tool. Mount only what may
    /// be read.
    pub fn mount(self, host: impl Into<PathBuf>, container: impl Into<String>) -> Self {
        let bind = Bind { host: host.into(), container: container.into(), writable: false };
        self.with(|config| config.mounts.push(bind))
    }

    /// Lets sessions read and change a file or directory of the engine's machine.
    pub fn mount_writable(self, host: impl Into<PathBuf>, container: impl Into<String>) -> Self {
        let bind = Bind { host: host.into(), container: container.into(), writable: true };
        self.with(|config| config.mounts.push(bind))
    }

    /// Lets sessions see a variable of the host's environment. Default none.
    pub fn allow_env(self, name: impl Into<String>) -> Self {
        self.with(|config| config.env_allow.push(name.into()))
    }

    /// Sets an environment variable of sessions. Secrets do not belong here: the host makes the model calls.
    pub fn env(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.with(|config| {
            config.env.insert(name.into(), value.into());
        })
    }

    /// Sets the user that the code runs as, in numbers, `user` or `user:group`. Default `65534:65534`, which
    /// owns nothing.
    pub fn user(self, user: impl Into<String>) -> Self {
        self.with(|config| config.user = user.into())
    }

    /// Sets the engine's runtime, such as `runsc`, which puts a kernel of its own between the code and the
    /// machine. Default: the engine's own choice.
    pub fn runtime(self, runtime: impl Into<String>) -> Self {
        self.with(|config| config.runtime = Some(runtime.into()))
    }

    /// Sets a further limit of a process, by its name as in `ulimit`: `fsize`, `stack`. It replaces one of
    /// that name that is set otherwise.
    pub fn ulimit(self, name: impl Into<String>, limit: u64) -> Self {
        self.with(|config| {
            config.ulimits.insert(name.into(), limit);
        })
    }

    /// Sets whether a small first process starts Python, reaps what Python leaves behind and passes signals
    /// on. Default true; an engine without `docker-init` cannot do it.
    pub fn init(self, on: bool) -> Self {
        self.with(|config| config.init = on)
    }

    /// Sets how long a session may take to start. Default 30 s.
    pub fn start_timeout(self, limit: Duration) -> Self {
        self.with(|config| config.start_timeout = limit)
    }

    /// Sets how much of this program's memory one message of a session may take, in bytes: a call with its
    /// arguments, a submission, or what a cell answers. Default 256 MiB. Python gets a `ValueError` for a
    /// value that would take more. As much may the calls hold that are in flight together, and the results
    /// that the session has not taken.
    pub fn max_message_bytes(self, bytes: u64) -> Self {
        self.with(|config| config.max_message_bytes = bytes)
    }

    /// Sets how long a cell may run after its time limit before its container is killed. The cell is
    /// interrupted at its limit and once more half-way through the grace. Default 1.2 s. The kill itself
    /// takes up to half a second.
    pub fn interrupt_grace(self, grace: Duration) -> Self {
        self.with(|config| config.interrupt_grace = grace)
    }

    /// The addresses of the engines, as [`hosts`](Self::hosts) takes them: those of the configuration, of
    /// `DOCKER_HOST`, or of the Docker client's context. Asks no engine.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](abyme_core::ErrorKind::Config) if an address cannot be used.
    pub async fn addresses(&self) -> Result<Vec<String>> {
        Ok(self.launcher.engines().await?.iter().map(|engine| engine.url().to_owned()).collect())
    }

    /// What each engine says of itself, and whether it has the image, in the order of the configuration.
    /// Fetches nothing. An engine that does not answer is an error in the list.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](abyme_core::ErrorKind::Config) if an address cannot be used.
    pub async fn engines(&self) -> Result<Vec<Result<EngineInfo>>> {
        let engines = self.launcher.engines().await?.iter();
        let ask = |engine| async move {
            self.launcher.client(engine).await?.info(&self.launcher.config.image).await
        };
        Ok(join_all(engines.map(ask)).await)
    }

    /// What the first engine that answers says of itself, and whether it has the image. Fetches nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](abyme_core::ErrorKind::Unavailable) if no engine answers, saying where it
    /// was looked for; [`ErrorKind::Config`](abyme_core::ErrorKind::Config) if the Docker context does not
    /// exist.
    pub async fn engine(&self) -> Result<EngineInfo> {
        let mut engines = self.engines().await?;
        let first = engines.iter().position(Result::is_ok).unwrap_or_default();
        engines.swap_remove(first)
    }

    /// Makes each engine have the image, fetching it where that is allowed. The first session does the same.
    ///
    /// # Errors
    /// Those of [`engine`](Self::engine), and
    /// [`ErrorKind::Unavailable`](abyme_core::ErrorKind::Unavailable) if the image cannot be fetched.
    pub async fn prepare(&self) -> Result<()> {
        self.launcher.prepare().await
    }

    /// Removes containers of programs on this machine that ended without doing so, as when they were killed,
    /// and returns how many there were. The first use of a factory does the same in the background.
    ///
    /// # Errors
    /// Those of [`engine`](Self::engine).
    pub async fn sweep(&self) -> Result<usize> {
        self.launcher.sweep().await
    }

    /// Waits until the containers of all sessions that were dropped or shut down are removed. Call it before
    /// the program ends. Sessions that are still in use are left alone, and further ones can be made.
    pub async fn shutdown(&self) {
        self.launcher.settled().await;
    }

    fn build(config: Config, reporter: Reporter) -> Self {
        let capabilities = capabilities(&config);
        Self { launcher: Arc::new(DockerLauncher::new(config, capabilities, reporter)) }
    }

    /// Changes the configuration. The result shares nothing with `self`.
    fn with(self, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = (*self.launcher.config).clone();
        change(&mut config);
        Self::build(config, self.launcher.reporter.clone())
    }
}

fn capabilities(config: &Config) -> Capabilities {
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
        "Packages can be imported if the container's image has them; files can be written in the working \
         directory and in /tmp."
            .to_owned(),
    ];
    if config.network.is_none() {
        capabilities.notes.push("There is no network: nothing can be downloaded or installed.".to_owned());
    }
    for (writable, what) in [(false, "Files to read, not to write,"), (true, "Files to read and write")] {
        let binds = config.mounts.iter().filter(|bind| bind.writable == writable);
        let paths: Vec<_> = binds.map(|bind| bind.container.as_str()).collect();
        if !paths.is_empty() {
            capabilities.notes.push(format!("{what} are at {}.", paths.join(", ")));
        }
    }
    capabilities
}

#[async_trait]
impl InterpreterFactory for Docker {
    fn name(&self) -> &str {
        "docker"
    }

    fn capabilities(&self) -> &Capabilities {
        &self.launcher.capabilities
    }

    async fn create(&self) -> Result<Box<dyn CodeInterpreter>> {
        Ok(Box::new(DriverInterpreter::new(self.launcher.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_survives_serde() {
        let docker = Docker::new().mount("/srv/docs", "/docs").pull(Pull::Never).ulimit("fsize", 7);
        let text = serde_json::to_string(&docker).unwrap();
        assert_eq!(serde_json::from_str::<Docker>(&text).unwrap().launcher.config, docker.launcher.config);
        let read: Docker = serde_json::from_str("{}").unwrap();
        assert_eq!(*read.launcher.config, Config::default());
    }
}
