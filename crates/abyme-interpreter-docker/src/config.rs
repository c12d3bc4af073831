//! The configuration of the backend: the part of [`Docker`](crate::Docker) that is plain data.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use abyme_core::{DecodeBudget, Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// The image that is used if no other is set.
pub(crate) const DEFAULT_IMAGE: &str = "python:3.13-slim";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Config {
    pub(crate) hosts: Vec<String>,
    pub(crate) image: String,
    pub(crate) pull: Pull,
    pub(crate) python: String,
    pub(crate) memory_limit_bytes: Option<u64>,
    pub(crate) cpus: Option<f64>,
    pub(crate) max_processes: Option<u32>,
    pub(crate) max_open_files: u64,
    pub(crate) work_limit_bytes: u64,
    pub(crate) tmp_limit_bytes: u64,
    pub(crate) shm_limit_bytes: u64,
    pub(crate) network: Option<String>,
    pub(crate) mounts: Vec<Bind>,
    pub(crate) env_allow: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) user: String,
    pub(crate) runtime: Option<String>,
    pub(crate) ulimits: BTreeMap<String, u64>,
    pub(crate) init: bool,
    pub(crate) max_message_bytes: u64,
    #[serde(with = "abyme_core::seconds")]
    pub(crate) start_timeout: Duration,
    #[serde(with = "abyme_core::seconds")]
    pub(crate) interrupt_grace: Duration,
}

/// When an image is fetched from its registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Pull {
    /// When the engine does not have it.
    #[default]
    Missing,
    /// Never. An image that the engine does not have is an error.
    Never,
    /// Once for each factory, to get the newest image of that name.
    Always,
}

/// A file or directory of the engine's machine that sessions see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bind {
    /// Its path on the machine of the engine, which may be another machine than this one.
    pub(crate) host: PathBuf,
    /// Its path in sessions: an absolute path, such as `/data`.
    pub(crate) container: String,
    /// Whether sessions may change it.
    #[serde(default)]
    pub(crate) writable: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            image: DEFAULT_IMAGE.to_owned(),
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
            max_message_bytes: DecodeBudget::DEFAULT_MAX_BYTES,
            start_timeout: Duration::from_secs(30),
            interrupt_grace: Duration::from_millis(1200),
        }
    }
}

impl Config {
    /// The user and the group that the code runs as: numbers, because only the image knows what a name means.
    pub(crate) fn user_and_group(&self) -> Option<(u32, u32)> {
        let (user, group) = self.user.split_once(':').unwrap_or((&self.user, &self.user));
        Some((user.parse().ok()?, group.parse().ok()?))
    }

    /// Refuses a configuration that cannot work, as far as that is known without an engine.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], saying what cannot work.
    pub(crate) fn check(&self) -> Result<()> {
        let refused = |what: String| Err(Error::new(ErrorKind::Config, what));
        if self.user_and_group().is_none() {
            let user = &self.user;
            return refused(format!("`{user}` is no user to run as: give numbers, as in `65534:65534`"));
        }
        if self.cpus.is_some_and(|cpus| !(cpus >= 0.01 && cpus.is_finite())) {
            return refused("`cpus` is to be 0.01 or more".to_owned());
        }
        if let Some(bind) = self.mounts.iter().find(|bind| !bind.container.starts_with('/')) {
            return refused(format!("`{}` is no place for a mount: give an absolute path", bind.container));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_pinned() {
        let config = Config::default();
        assert_eq!(config.max_message_bytes, 256 << 20);
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
        assert!(config.hosts.is_empty() && config.runtime.is_none() && config.init);
        assert_eq!(config.start_timeout, Duration::from_secs(30));
        assert_eq!(config.interrupt_grace, Duration::from_millis(1200));
    }

    #[test]
    fn what_cannot_work_is_refused() {
        assert!(Config::default().check().is_ok());
        let refused = |config: Config| config.check().unwrap_err().message().to_owned();
        assert!(refused(Config { user: "app".to_owned(), ..Config::default() }).contains("`app` is no user"));
        assert!(refused(Config { cpus: Some(0.0), ..Config::default() }).contains("`cpus`"));
        let relative = Bind { host: "/a".into(), container: "a".to_owned(), writable: false };
        let config = Config { mounts: vec![relative], ..Config::default() };
        assert!(refused(config).contains("absolute path"));
    }
}
