//! The configuration of the backend: the part of [`Subprocess`](crate::Subprocess) that is plain data.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use abyme_core::DecodeBudget;
use serde::{Deserialize, Serialize};

use crate::isolation::mode::IsolationMode;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Config {
    pub(crate) python: PathBuf,
    pub(crate) isolation: IsolationMode,
    pub(crate) allow_processes: bool,
    pub(crate) read_allow: Vec<PathBuf>,
    pub(crate) memory_limit_bytes: Option<u64>,
    #[serde(with = "abyme_core::seconds::option")]
    pub(crate) cpu_timeout: Option<Duration>,
    pub(crate) disk_limit_bytes: u64,
    pub(crate) max_file_bytes: Option<u64>,
    pub(crate) max_processes: Option<u32>,
    pub(crate) max_open_files: Option<u64>,
    pub(crate) env_allow: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) temp_dir: Option<PathBuf>,
    #[serde(with = "abyme_core::seconds")]
    pub(crate) start_timeout: Duration,
    pub(crate) max_message_bytes: u64,
    #[serde(with = "abyme_core::seconds")]
    pub(crate) interrupt_grace: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            python: PathBuf::from("python3"),
            isolation: IsolationMode::default(),
            allow_processes: false,
            read_allow: Vec::new(),
            memory_limit_bytes: Some(4 << 30),
            cpu_timeout: None,
            disk_limit_bytes: 1 << 30,
            max_file_bytes: Some(1 << 30),
            max_processes: Some(4096),
            max_open_files: Some(1024),
            env_allow: ["LANG", "LC_ALL", "LD_LIBRARY_PATH", "TZ"].map(str::to_owned).to_vec(),
            env: BTreeMap::new(),
            temp_dir: None,
            start_timeout: Duration::from_secs(10),
            max_message_bytes: DecodeBudget::DEFAULT_MAX_BYTES,
            interrupt_grace: Duration::from_millis(1500),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_pinned() {
        let config = Config::default();
        let isolation = if cfg!(target_os = "linux") { IsolationMode::Required } else { IsolationMode::Off };
        assert_eq!((config.isolation, config.allow_processes), (isolation, false));
        assert_eq!((config.read_allow.len(), config.disk_limit_bytes), (0, 1 << 30));
        assert_eq!(config.max_message_bytes, 256 << 20);
        assert_eq!(config.python, PathBuf::from("python3"));
        assert_eq!((config.memory_limit_bytes, config.max_file_bytes), (Some(4 << 30), Some(1 << 30)));
        assert_eq!(
            (config.max_processes, config.max_open_files, config.cpu_timeout),
            (Some(4096), Some(1024), None)
        );
        assert_eq!(config.env_allow, ["LANG", "LC_ALL", "LD_LIBRARY_PATH", "TZ"]);
        assert!(config.env.is_empty() && config.temp_dir.is_none());
        assert_eq!(
            (config.start_timeout, config.interrupt_grace),
            (Duration::from_secs(10), Duration::from_millis(1500))
        );
    }
}
