//! The configuration of the backend: the part of [`Modal`](crate::Modal) that is plain data.

use std::{collections::BTreeMap, fmt, time::Duration};

use abyme_core::{DecodeBudget, Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// The image that is used if no other is set.
pub(crate) const DEFAULT_IMAGE: &str = "python:3.13-slim";
/// The longest time that Modal gives a sandbox.
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Config {
    #[serde(skip)]
    pub(crate) token: Option<AccountToken>,
    pub(crate) profile: Option<String>,
    pub(crate) server_url: Option<String>,
    pub(crate) app: String,
    pub(crate) create_app: bool,
    pub(crate) environment: Option<String>,
    pub(crate) image: String,
    pub(crate) image_id: Option<String>,
    pub(crate) apt_packages: Vec<String>,
    pub(crate) pip_packages: Vec<String>,
    pub(crate) dockerfile_lines: Vec<String>,
    pub(crate) python: String,
    pub(crate) secrets: Vec<String>,
    pub(crate) env_allow: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) cpus: Option<f64>,
    pub(crate) memory_limit_bytes: Option<u64>,
    pub(crate) gpu: Option<String>,
    pub(crate) regions: Vec<String>,
    pub(crate) network: Network,
    pub(crate) name: Option<String>,
    pub(crate) workdir: Option<String>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) api: Option<Api>,
    pub(crate) sessions_per_sandbox: usize,
    pub(crate) snapshots: bool,
    #[serde(with = "abyme_core::seconds")]
    pub(crate) timeout: Duration,
    #[serde(with = "abyme_core::seconds::option")]
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) max_message_bytes: u64,
    #[serde(with = "abyme_core::seconds")]
    pub(crate) start_timeout: Duration,
    #[serde(with = "abyme_core::seconds")]
    pub(crate) build_timeout: Duration,
    #[serde(with = "abyme_core::seconds")]
    pub(crate) interrupt_grace: Duration,
}

/// An account's token. Nothing shows it.
#[derive(Clone, PartialEq)]
pub(crate) struct AccountToken {
    pub(crate) id: String,
    pub(crate) secret: String,
}

/// What of the network code in a sandbox reaches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Network {
    /// Nothing.
    #[default]
    Blocked,
    /// These domains, such as `pypi.org` or `*.example.org`.
    Domains(Vec<String>),
    /// All of it.
    Open,
}

/// The kind of sandbox, of which Modal has two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Api {
    /// The first: with GPUs, and three calls more before a session starts.
    V1,
    /// The second, which Modal's own client uses since its version 1.6.
    V2,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            token: None,
            profile: None,
            server_url: None,
            app: "abyme".to_owned(),
            create_app: true,
            environment: None,
            image: DEFAULT_IMAGE.to_owned(),
            image_id: None,
            apt_packages: Vec::new(),
            pip_packages: Vec::new(),
            dockerfile_lines: Vec::new(),
            python: "python3".to_owned(),
            secrets: Vec::new(),
            env_allow: Vec::new(),
            env: BTreeMap::new(),
            cpus: None,
            memory_limit_bytes: Some(1 << 30),
            gpu: None,
            regions: Vec::new(),
            network: Network::Blocked,
            name: None,
            workdir: None,
            tags: BTreeMap::new(),
            api: None,
            sessions_per_sandbox: 1,
            snapshots: false,
            timeout: Duration::from_secs(3600),
            idle_timeout: None,
            max_message_bytes: DecodeBudget::DEFAULT_MAX_BYTES,
            start_timeout: Duration::from_secs(120),
            build_timeout: Duration::from_secs(1800),
            interrupt_grace: Duration::from_millis(1200),
        }
    }
}

/// Variables may hold what nobody should see: their names are shown, and no values.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("app", &self.app)
            .field("image", self.image_id.as_ref().unwrap_or(&self.image))
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .field("secrets", &self.secrets)
            .field("network", &self.network)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// The kind of sandbox to ask for first.
    pub(crate) fn api(&self) -> Api {
        self.api.unwrap_or(if self.gpu.is_some() { Api::V1 } else { Api::V2 })
    }

    /// Refuses a configuration that cannot work, as far as that is known without Modal.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], saying what cannot work.
    pub(crate) fn check(&self) -> Result<()> {
        let problem = if self.cpus.is_some_and(|cpus| !(0.125..=1024.0).contains(&cpus)) {
            Some("`cpus` is to be 0.125 or more".to_owned())
        } else if self
            .memory_limit_bytes
            .is_some_and(|bytes| bytes < 128 << 20 || bytes >> 20 > u32::MAX.into())
        {
            Some("`memory_limit_bytes` is to be 128 MiB or more".to_owned())
        } else if self.timeout < Duration::from_secs(10) || self.timeout > MAX_TIMEOUT {
            Some("`timeout` is to be between 10 s and 24 h".to_owned())
        } else if self.idle_timeout.is_some_and(|limit| limit < Duration::from_secs(1)) {
            Some("`idle_timeout` is to be 1 s or more".to_owned())
        } else if self.sessions_per_sandbox == 0 || self.sessions_per_sandbox > 64 {
            Some("`sessions_per_sandbox` is to be between 1 and 64".to_owned())
        } else if self.workdir.as_ref().is_some_and(|path| !path.starts_with('/')) {
            Some("`workdir` is to be an absolute path".to_owned())
        } else if self.gpu.is_some() && self.api == Some(Api::V2) {
            Some("`gpu` needs sandboxes of the first kind: leave `api` out".to_owned())
        } else if self.snapshots && (self.sessions_per_sandbox > 1 || self.name.is_some()) {
            Some("`snapshots` needs a sandbox for each session, without a `name`".to_owned())
        } else if self.snapshots && self.api() == Api::V1 {
            Some("`snapshots` needs sandboxes of the second kind, without a `gpu`".to_owned())
        } else if let Some(name) =
            [Some(&self.app), self.name.as_ref()].into_iter().flatten().find(|name| !is_name(name))
        {
            Some(format!("`{name}` is no name: letters, digits, `-`, `_` and `.`, at most 64 of them"))
        } else {
            let lines = self.apt_packages.iter().chain(&self.pip_packages).chain(&self.dockerfile_lines);
            let broken =
                lines.chain([&self.image]).find(|line| line.trim().is_empty() || line.contains('\n'));
            broken.map(|line| format!("`{}` is no line of an image", line.escape_debug()))
        };
        problem.map_or(Ok(()), |what| Err(Error::new(ErrorKind::Config, what)))
    }

    /// The variables of sessions: those of this process that are allowed, and those that are set.
    pub(crate) fn environment_of_sessions(&self) -> BTreeMap<String, String> {
        let allowed = self.env_allow.iter();
        let allowed = allowed.filter_map(|name| Some((name.clone(), std::env::var(name).ok()?)));
        allowed.chain(self.env.clone()).collect()
    }
}

fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=64).contains(&name.len()) && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_pinned() {
        let config = Config::default();
        assert_eq!((config.app.as_str(), config.create_app), ("abyme", true));
        assert_eq!((config.image.as_str(), config.python.as_str()), ("python:3.13-slim", "python3"));
        assert_eq!((config.cpus, config.memory_limit_bytes), (None, Some(1 << 30)));
        assert_eq!((config.timeout, config.idle_timeout), (Duration::from_secs(3600), None));
        assert_eq!((config.network.clone(), config.sessions_per_sandbox), (Network::Blocked, 1));
        assert!(!config.snapshots);
        assert_eq!(
            (config.start_timeout, config.build_timeout),
            (Duration::from_secs(120), Duration::from_secs(1800))
        );
        assert_eq!(config.interrupt_grace, Duration::from_millis(1200));
        assert_eq!(config.max_message_bytes, 256 << 20);
        assert!(
            config.token.is_none()
                && config.profile.is_none()
                && config.server_url.is_none()
                && config.environment.is_none()
        );
        assert!(config.image_id.is_none() && config.gpu.is_none() && config.name.is_none());
        assert!(config.workdir.is_none() && config.api.is_none() && config.regions.is_empty());
        assert!(config.env.is_empty() && config.env_allow.is_empty() && config.secrets.is_empty());
        assert!(config.apt_packages.is_empty() && config.pip_packages.is_empty() && config.tags.is_empty());
        assert!(config.dockerfile_lines.is_empty());
        assert_eq!(config.api(), Api::V2);
        assert_eq!(Config { gpu: Some("T4".to_owned()), ..config }.api(), Api::V1);
    }

    #[test]
    fn what_cannot_work_is_refused_and_no_value_is_shown() {
        assert!(Config::default().check().is_ok());
        let refused = |config: Config, what: &str| {
            let error = config.check().unwrap_err();
            assert!(error.kind() == ErrorKind::Config && error.message().contains(what), "{error}");
        };
        refused(Config { cpus: Some(0.0), ..Config::default() }, "`cpus`");
        refused(Config { timeout: Duration::from_secs(1), ..Config::default() }, "`timeout`");
        refused(Config { workdir: Some("here".to_owned()), ..Config::default() }, "absolute");
        refused(Config { app: "my app".to_owned(), ..Config::default() }, "`my app`");
        refused(Config { pip_packages: vec!["a\nRUN b".to_owned()], ..Config::default() }, "no line");
        refused(Config { gpu: Some("T4".to_owned()), api: Some(Api::V2), ..Config::default() }, "`gpu`");
        refused(Config { snapshots: true, sessions_per_sandbox: 2, ..Config::default() }, "`snapshots`");
        refused(Config { snapshots: true, gpu: Some("T4".to_owned()), ..Config::default() }, "`gpu`");
        let env = BTreeMap::from([("KEY".to_owned(), "very-secret".to_owned())]);
        let shown = format!("{:?}", Config { env, ..Config::default() });
        assert!(shown.contains("KEY") && !shown.contains("very-secret"), "{shown}");
    }
}
