//! How containers are set up.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use abyme_driver::DriverTimeouts;
use serde::{Deserialize, Serialize};

/// How containers are set up. The defaults are the strictest that Python runs under.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct DockerConfig {
    /// The engine's address: `unix://`, `tcp://`, `http://`, `https://` or `ssh://`. Default: `DOCKER_HOST`, else the
    /// client's current context, else `/var/run/docker.sock`.
    pub host: Option<String>,
    /// The image. Any with Python 3.9 or later works; nothing is installed in it. Default `python:3.13-slim`.
    pub image: String,
    /// When the image is fetched from its registry. Default [`Pull::Missing`].
    pub pull: Pull,
    /// The Python to run in the image: a name on its `PATH`, or a path. Default `python3`.
    pub python: String,
    /// Memory of a session with all its processes and files, in bytes; there is no swap on top. Default 512 MiB; `None` is no limit.
    pub memory_limit_bytes: Option<u64>,
    /// Processors a session may use at a time. Default 1; `None` is all of them.
    pub cpus: Option<f64>,
    /// Processes and threads of a session, its own first two included. Default 128; `None` is no limit.
    pub max_processes: Option<u32>,
    /// Open files of a process. Default 1 024.
    pub max_open_files: u64,
    /// Size of the working directory, in bytes. It is in memory and counts there. Default 64 MiB.
    pub work_limit_bytes: u64,
    /// Size of `/tmp`, in bytes. It is in memory and counts there. Default 64 MiB.
    pub tmp_limit_bytes: u64,
    /// Size of `/dev/shm`, in bytes, which locks and shared memory of `multiprocessing` need. It is in memory and counts
    /// there. Default 64 MiB; 0 is none.
    pub shm_limit_bytes: u64,
    /// The engine's network to connect to, such as `bridge`. Default none: the session has no network.
    pub network: Option<String>,
    /// Files and directories of the engine's machine that sessions see. Default none.
    pub mounts: Vec<Bind>,
    /// Variables of the host's environment that sessions see. Default none.
    pub env_allow: Vec<String>,
    /// Further environment variables of sessions. Secrets do not belong here: the host makes the model calls.
    pub env: BTreeMap<String, String>,
    /// Who the code runs as, in numbers, `user` or `user:group`. Default `65534:65534`, who owns nothing.
    pub user: String,
    /// The engine's runtime, such as `runsc`, which puts a kernel of its own between the code and the machine. Default:
    /// the engine's own choice.
    pub runtime: Option<String>,
    /// Further limits of a process (`ulimit`), by name, such as `fsize`. They go over those that are set otherwise.
    pub ulimits: BTreeMap<String, u64>,
    /// Whether a small first process starts Python, reaps what Python leaves behind and passes signals on. Default true;
    /// an engine without `docker-init` cannot.
    pub init: bool,
    /// Time limits of the connection. Default: 30 s to start, and 1.2 s from a cell's time limit to its kill, which
    /// itself takes up to half a second.
    pub session: DriverTimeouts,
}

/// When an image is fetched from its registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Pull {
    /// When the engine does not have it.
    #[default]
    Missing,
    /// Never: an image that the engine does not have is an error.
    Never,
    /// Once for each factory, for the newest of that name.
    Always,
}

/// A file or directory of the engine's machine that sessions see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// Where it is, on the machine the engine runs on, which may be another than this one.
    pub host: PathBuf,
    /// Where sessions find it: an absolute path, such as `/data`.
    pub container: String,
    /// Whether sessions may change it. Default false.
    #[serde(default)]
    pub writable: bool,
}

impl Default for DockerConfig {
    fn default() -> Self {
        let session = DriverTimeouts {
            start_timeout: Duration::from_secs(30),
            interrupt_grace: Duration::from_millis(1200),
        };
        Self {
            host: None,
            image: "python:3.13-slim".to_owned(),
            pull: Pull::Missing,
            python: "python3".to_owned(),
            memory_limit_bytes: Some(512 << 20),
            cpus: Some(1.0),
            max_processes: Some(128),
            max_open_files: 1024,
            work_limit_bytes: 64 << 20,
            tmp_limit_bytes: 64 << 20,
            shm_limit_bytes: 64 << 20,
            network: None,
            mounts: Vec::new(),
            env_allow: Vec::new(),
            env: BTreeMap::new(),
            user: "65534:65534".to_owned(),
            runtime: None,
            ulimits: BTreeMap::new(),
            init: true,
            session,
        }
    }
}

impl DockerConfig {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the engine's address.
    pub fn host(mut self, address: impl Into<String>) -> Self {
        self.host = Some(address.into());
        self
    }

    /// Sets the image.
    pub fn image(mut self, image: impl Into<String>) -> Self {
        self.image = image.into();
        self
    }

    /// Sets when the image is fetched.
    pub fn pull(mut self, pull: Pull) -> Self {
        self.pull = pull;
        self
    }

    /// Sets the Python to run in the image.
    pub fn python(mut self, python: impl Into<String>) -> Self {
        self.python = python.into();
        self
    }

    /// Sets the memory of a session, in bytes.
    pub fn memory_limit_bytes(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.memory_limit_bytes = bytes.into();
        self
    }

    /// Sets the processors a session may use at a time.
    pub fn cpus(mut self, cpus: impl Into<Option<f64>>) -> Self {
        self.cpus = cpus.into();
        self
    }

    /// Sets the processes and threads of a session.
    pub fn max_processes(mut self, processes: impl Into<Option<u32>>) -> Self {
        self.max_processes = processes.into();
        self
    }

    /// Sets the open files of a process.
    pub fn max_open_files(mut self, files: u64) -> Self {
        self.max_open_files = files;
        self
    }

    /// Sets the size of the working directory, in bytes.
    pub fn work_limit_bytes(mut self, bytes: u64) -> Self {
        self.work_limit_bytes = bytes;
        self
    }

    /// Sets the size of `/tmp`, in bytes.
    pub fn tmp_limit_bytes(mut self, bytes: u64) -> Self {
        self.tmp_limit_bytes = bytes;
        self
    }

    /// Sets the size of `/dev/shm`, in bytes.
    pub fn shm_limit_bytes(mut self, bytes: u64) -> Self {
        self.shm_limit_bytes = bytes;
        self
    }

    /// Connects sessions to a network of the engine's, such as `bridge`.
    pub fn network(mut self, name: impl Into<String>) -> Self {
        self.network = Some(name.into());
        self
    }

    /// Lets sessions read a file or directory of the engine's machine.
    ///
    /// Whatever the code in a session can read it can hand to a model or a tool: mount what may be read, no more.
    pub fn mount(mut self, host: impl Into<PathBuf>, container: impl Into<String>) -> Self {
        self.mounts.push(Bind { host: host.into(), container: container.into(), writable: false });
        self
    }

    /// Lets sessions read and change a file or directory of the engine's machine.
    pub fn mount_writable(mut self, host: impl Into<PathBuf>, container: impl Into<String>) -> Self {
        self.mounts.push(Bind { host: host.into(), container: container.into(), writable: true });
        self
    }

    /// Lets sessions see a variable of the host's environment.
    pub fn allow_env(mut self, name: impl Into<String>) -> Self {
        self.env_allow.push(name.into());
        self
    }

    /// Sets an environment variable of sessions.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Sets who the code runs as, in numbers, `user` or `user:group`.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = user.into();
        self
    }

    /// Sets the engine's runtime, such as `runsc`.
    pub fn runtime(mut self, runtime: impl Into<String>) -> Self {
        self.runtime = Some(runtime.into());
        self
    }

    /// Sets a further limit of a process, by its name as in `ulimit`: `fsize`, `stack`.
    pub fn ulimit(mut self, name: impl Into<String>, limit: u64) -> Self {
        self.ulimits.insert(name.into(), limit);
        self
    }

    /// Sets whether a small first process starts Python.
    pub fn init(mut self, on: bool) -> Self {
        self.init = on;
        self
    }

    /// Sets the time limits of the connection.
    pub fn session(mut self, session: DriverTimeouts) -> Self {
        self.session = session;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_pinned() {
        let config = DockerConfig::default();
        assert_eq!((config.image.as_str(), config.pull), ("python:3.13-slim", Pull::Missing));
        assert_eq!((config.python.as_str(), config.user.as_str()), ("python3", "65534:65534"));
        assert_eq!((config.memory_limit_bytes, config.cpus), (Some(512 << 20), Some(1.0)));
        assert_eq!((config.max_processes, config.max_open_files), (Some(128), 1024));
        assert_eq!(
            (config.work_limit_bytes, config.tmp_limit_bytes, config.shm_limit_bytes),
            (64 << 20, 64 << 20, 64 << 20)
        );
        assert!(config.network.is_none() && config.mounts.is_empty());
        assert!(config.env_allow.is_empty() && config.env.is_empty() && config.ulimits.is_empty());
        assert!(config.host.is_none() && config.runtime.is_none() && config.init);
        assert_eq!(config.session.start_timeout, Duration::from_secs(30));
        assert_eq!(config.session.interrupt_grace, Duration::from_millis(1200));
    }

    #[test]
    fn it_survives_serde() {
        let config = DockerConfig::new().mount("/srv/docs", "/docs").pull(Pull::Never).ulimit("fsize", 7);
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<DockerConfig>(&text).unwrap(), config);
        assert_eq!(serde_json::from_str::<DockerConfig>("{}").unwrap(), DockerConfig::default());
    }
}
