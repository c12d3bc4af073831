//! The backend as users see it: [`Subprocess`], the configuration and the factory of its sessions.

use std::{path::PathBuf, sync::Arc, time::Duration};

use abyme_core::{Access, Capabilities, CodeInterpreter, InterpreterFactory, Isolation, Result};
use abyme_driver::{DriverInterpreter, Launcher};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

#[cfg(not(unix))]
use crate::elsewhere::SubprocessLauncher;
#[cfg(unix)]
use crate::session::SubprocessLauncher;
use crate::{config::Config, isolation::mode::IsolationMode};

/// Python in a child process: the configuration and the factory of its sessions.
///
/// Clones share the Python that was found and the thread that starts the processes. Serialising writes the
/// configuration; every field has a default.
///
/// ```no_run
/// # async fn example() -> abyme_core::Result<()> {
/// use abyme_core::InterpreterFactoryExt;
/// use abyme_interpreter_subprocess::Subprocess;
///
/// let mut session = Subprocess::new().python("python3.12").session().await?;
/// assert_eq!(session.run_code("6 * 7").await?.value.unwrap().to_string(), "42");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Config", into = "Config")]
pub struct Subprocess {
    launcher: Arc<SubprocessLauncher>,
}

impl Default for Subprocess {
    fn default() -> Self {
        Self::from(Config::default())
    }
}

impl From<Config> for Subprocess {
    fn from(config: Config) -> Self {
        let open = capabilities(&config);
        Self { launcher: Arc::new(SubprocessLauncher::new(config, open)) }
    }
}

impl From<Subprocess> for Config {
    fn from(subprocess: Subprocess) -> Self {
        subprocess.launcher.config.clone()
    }
}

impl Subprocess {
    /// The defaults. Nothing is started yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the Python to run: a name on `PATH`, or a path. Default `python3`. It must be Python 3.9 or
    /// later.
    pub fn python(self, python: impl Into<PathBuf>) -> Self {
        self.with(|config| config.python = python.into())
    }

    /// Sets what a session does about a mechanism of its isolation that this machine does not have. Default:
    /// it does not start ([`IsolationMode::Required`]); on other systems than Linux, which have none, it
    /// starts without ([`IsolationMode::Off`]).
    pub fn isolation(self, mode: IsolationMode) -> Self {
        self.with(|config| config.isolation = mode)
    }

    /// Lets code in isolated sessions start processes (`fork`, `multiprocessing`), which it cannot by
    /// default, and programs as far as they are readable: Python itself, and what
    /// [`allow_read`](Self::allow_read) names, such as `/usr/bin`. Where control groups can be made, the
    /// limits of memory and processes then hold for all of a session's processes together, and the sizes of
    /// its files count as memory; elsewhere that of memory holds for each alone.
    pub fn allow_processes(self) -> Self {
        self.with(|config| config.allow_processes = true)
    }

    /// Lets isolated sessions read a file or directory of the host, at its own path, with all below it.
    /// Without this they read Python with its packages, and the system's libraries. It must be there when
    /// the first session starts.
    pub fn allow_read(self, path: impl Into<PathBuf>) -> Self {
        self.with(|config| config.read_allow.push(path.into()))
    }

    /// Sets how much all files of an isolated session may take together, in bytes. Default 1 GiB. They are in
    /// memory. Sessions without namespaces write to the host's disk, and keep to
    /// [`max_file_bytes`](Self::max_file_bytes) alone.
    pub fn disk_limit_bytes(self, bytes: u64) -> Self {
        self.with(|config| config.disk_limit_bytes = bytes)
    }

    /// Sets the address space of the process, in bytes (`RLIMIT_AS`). Default 4 GiB; `None` is no limit.
    pub fn memory_limit_bytes(self, bytes: impl Into<Option<u64>>) -> Self {
        self.with(|config| config.memory_limit_bytes = bytes.into())
    }

    /// Sets the processor time of the whole session (`RLIMIT_CPU`), in whole seconds. Default none: cells
    /// have a time limit.
    pub fn cpu_timeout(self, limit: impl Into<Option<Duration>>) -> Self {
        self.with(|config| config.cpu_timeout = limit.into())
    }

    /// Sets the size of a file that the session writes, in bytes (`RLIMIT_FSIZE`). Default 1 GiB; `None` is
    /// no limit.
    pub fn max_file_bytes(self, bytes: impl Into<Option<u64>>) -> Self {
        self.with(|config| config.max_file_bytes = bytes.into())
    }

    /// Sets the number of processes and threads of the *user*, all sessions and programs together
    /// (`RLIMIT_NPROC`). The kernel does not apply it to root. Where a session has a control group, as many
    /// may be in that, also of root's. Default 4 096; `None` is no limit.
    pub fn max_processes(self, processes: impl Into<Option<u32>>) -> Self {
        self.with(|config| config.max_processes = processes.into())
    }

    /// Sets the number of open files of the process (`RLIMIT_NOFILE`). Default 1 024; `None` is no limit.
    pub fn max_open_files(self, files: impl Into<Option<u64>>) -> Self {
        self.with(|config| config.max_open_files = files.into())
    }

    /// Lets the session see a variable of the host's environment. Without this it sees `LANG`, `LC_ALL`,
    /// `LD_LIBRARY_PATH` and `TZ`.
    pub fn allow_env(self, name: impl Into<String>) -> Self {
        self.with(|config| config.env_allow.push(name.into()))
    }

    /// Sets an environment variable of the session. Secrets do not belong here: the host makes the model
    /// calls.
    pub fn env(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.with(|config| {
            config.env.insert(name.into(), value.into());
        })
    }

    /// Sets where the private working directory of a session without namespaces is made. Default: the
    /// system's directory for temporary files.
    pub fn temp_dir(self, dir: impl Into<PathBuf>) -> Self {
        self.with(|config| config.temp_dir = Some(dir.into()))
    }

    /// Sets how long a session may take to start. Default 10 s.
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

    /// Sets how long a cell may run after its time limit before its process is killed. The cell is
    /// interrupted at its limit and once more half-way through the grace. Default 1.5 s, within the 2 s of
    /// contract clause C10.
    pub fn interrupt_grace(self, grace: Duration) -> Self {
        self.with(|config| config.interrupt_grace = grace)
    }

    /// Sets another driver that speaks the same protocol, as the names and sources of its files. Abyme's own
    /// tests plant faults with this. Not part of the serialised configuration.
    pub fn driver(self, files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|(name, source)| ((*name).to_owned(), (*source).to_owned())).collect();
        Self { launcher: Arc::new(self.launcher.unstarted().with_driver(files)) }
    }

    /// Changes the configuration. The result shares nothing with `self`.
    fn with(self, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.launcher.config.clone();
        change(&mut config);
        let open = capabilities(&config);
        Self { launcher: Arc::new(self.launcher.with_config(config, open)) }
    }
}

/// What is declared where nothing is applied.
fn capabilities(config: &Config) -> Capabilities {
    let mut capabilities = Capabilities::new(Isolation::Process);
    capabilities.network = Access::Open;
    capabilities.host_files = Access::Open;
    // Its own environment is an allow-list, but code of the same user can read the host's through /proc.
    capabilities.environment = Access::Open;
    capabilities.processes = Access::Open;
    capabilities.memory_limit_bytes = config.memory_limit_bytes;
    capabilities.interrupt = true;
    capabilities.crash_isolated = true;
    capabilities.threads = true;
    capabilities.concurrent_calls = true;
    capabilities.native_packages = true;
    capabilities.notes = vec![
        "Packages installed for this machine's Python, such as numpy, can be imported if they are there."
            .into(),
    ];
    capabilities
}

#[async_trait]
impl InterpreterFactory for Subprocess {
    fn name(&self) -> &str {
        "subprocess"
    }

    fn capabilities(&self) -> &Capabilities {
        Launcher::capabilities(&*self.launcher)
    }

    async fn create(&self) -> Result<Box<dyn CodeInterpreter>> {
        Ok(Box::new(DriverInterpreter::new(self.launcher.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_what_is_serialised() {
        let set = Subprocess::new().python("/opt/python").max_processes(None).env("A", "b");
        let text = serde_json::to_string(&set).unwrap();
        let read: Subprocess = serde_json::from_str(&text).unwrap();
        assert_eq!(read.launcher.config, set.launcher.config);
        let read: Subprocess = serde_json::from_str("{}").unwrap();
        assert_eq!(read.launcher.config, Config::default());
    }
}
