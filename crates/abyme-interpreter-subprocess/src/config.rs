//! How the child process is set up.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use abyme_driver::DriverTimeouts;
use serde::{Deserialize, Serialize};

/// How the child process is set up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct SubprocessConfig {
    /// The Python to run: a name on `PATH`, or a path. Default `python3`. Needs Python 3.9 or later.
    pub python: PathBuf,
    /// Address space of the process, in bytes (`RLIMIT_AS`). Default 4 GiB; `None` is no limit.
    pub memory_limit_bytes: Option<u64>,
    /// Processor time of the whole session (`RLIMIT_CPU`), in whole seconds. Default none: cells have a time limit.
    #[serde(with = "abyme_core::seconds::option")]
    pub cpu_timeout: Option<Duration>,
    /// Size of a file the session writes, in bytes (`RLIMIT_FSIZE`). Default 1 GiB; `None` is no limit.
    pub max_file_bytes: Option<u64>,
    /// Processes and threads of the *user*, all sessions and programs together (`RLIMIT_NPROC`). The kernel does not
    /// apply it to root. Default 4 096; `None` is no limit.
    pub max_processes: Option<u64>,
    /// Open files of the process (`RLIMIT_NOFILE`). Default 1 024; `None` is no limit.
    pub max_open_files: Option<u64>,
    /// Variables of the host's environment that the session sees. Default `LANG`, `LC_ALL`, `LD_LIBRARY_PATH`, `TZ`.
    pub env_allow: Vec<String>,
    /// Further environment variables of the session. Secrets do not belong here: the host makes the model calls.
    pub env: BTreeMap<String, String>,
    /// Where the session's private working directory is made. Default: the system's directory for temporary files.
    pub temp_dir: Option<PathBuf>,
    /// Time limits of the connection.
    pub session: DriverTimeouts,
}

impl Default for SubprocessConfig {
    fn default() -> Self {
        Self {
            python: PathBuf::from("python3"),
            memory_limit_bytes: Some(4 << 30),
            cpu_timeout: None,
            max_file_bytes: Some(1 << 30),
            max_processes: Some(4096),
            max_open_files: Some(1024),
            env_allow: ["LANG", "LC_ALL", "LD_LIBRARY_PATH", "TZ"].map(str::to_owned).to_vec(),
            env: BTreeMap::new(),
            temp_dir: None,
            session: DriverTimeouts::default(),
        }
    }
}

impl SubprocessConfig {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the Python to run.
    pub fn python(mut self, python: impl Into<PathBuf>) -> Self {
        self.python = python.into();
        self
    }

    /// Sets the address space of the process, in bytes.
    pub fn memory_limit_bytes(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.memory_limit_bytes = bytes.into();
        self
    }

    /// Sets the processor time of the whole session.
    pub fn cpu_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.cpu_timeout = limit.into();
        self
    }

    /// Sets the size of a file the session writes, in bytes.
    pub fn max_file_bytes(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.max_file_bytes = bytes.into();
        self
    }

    /// Sets the processes and threads of the user.
    pub fn max_processes(mut self, processes: impl Into<Option<u64>>) -> Self {
        self.max_processes = processes.into();
        self
    }

    /// Sets the open files of the process.
    pub fn max_open_files(mut self, files: impl Into<Option<u64>>) -> Self {
        self.max_open_files = files.into();
        self
    }

    /// Lets the session see a variable of the host's environment.
    pub fn allow_env(mut self, name: impl Into<String>) -> Self {
        self.env_allow.push(name.into());
        self
    }

    /// Sets an environment variable of the session.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Sets where the session's private working directory is made.
    pub fn temp_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.temp_dir = Some(dir.into());
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
        let config = SubprocessConfig::default();
        assert_eq!(config.python, PathBuf::from("python3"));
        assert_eq!((config.memory_limit_bytes, config.max_file_bytes), (Some(4 << 30), Some(1 << 30)));
        assert_eq!(
            (config.max_processes, config.max_open_files, config.cpu_timeout),
            (Some(4096), Some(1024), None)
        );
        assert_eq!(config.env_allow, ["LANG", "LC_ALL", "LD_LIBRARY_PATH", "TZ"]);
        assert!(config.env.is_empty() && config.temp_dir.is_none());
    }
}
