//! The backend as users see it: [`Modal`], the configuration and the factory of its sessions.

use std::{fmt, sync::Arc, time::Duration};

use abyme_core::{Access, Capabilities, CodeInterpreter, InterpreterFactory, Isolation, Result};
use abyme_driver::DriverInterpreter;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    config::{AccountToken, Api, Config, DEFAULT_IMAGE, Network},
    image::{BuildProgress, Reporter},
    session::ModalLauncher,
};

/// Python in a sandbox of [Modal](https://modal.com): the configuration and the factory of its sessions.
///
/// Each session is a sandbox of its own, without a network. Clones share the connection. Serialising writes
/// the configuration, without any token; every field has a default.
///
/// ```no_run
/// # async fn example() -> abyme_core::Result<()> {
/// use abyme_core::{CodeInterpreter, InterpreterFactoryExt};
/// use abyme_interpreter_modal::Modal;
///
/// let modal = Modal::new().pip_packages(["numpy"]).memory_limit_bytes(2 << 30);
/// let mut session = modal.session().await?;
/// assert_eq!(session.run_code("6 * 7").await?.value.unwrap().to_string(), "42");
/// session.shutdown().await?;
/// modal.shutdown().await;
/// # Ok(()) }
/// ```
///
/// # The token
/// It comes from `MODAL_TOKEN_ID` and `MODAL_TOKEN_SECRET`, or from `~/.modal.toml`, as for Modal's own
/// client. It is never shown, logged, serialised, or sent to another server than the configured one.
///
/// # The end
/// [`Session::shutdown`](abyme_core::Session) terminates the sandbox of a session before it returns. The
/// sandbox of a session that was dropped is terminated in the background. [`shutdown`](Self::shutdown) waits
/// for that: call it before the program ends. Without it, the drop of the last value that uses the connection
/// blocks its thread until the sandboxes are terminated, for at most 1 s.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Config", into = "Config")]
pub struct Modal {
    launcher: Arc<ModalLauncher>,
}

impl Default for Modal {
    fn default() -> Self {
        Self::from(Config::default())
    }
}

impl From<Config> for Modal {
    fn from(config: Config) -> Self {
        Self::build(config, Reporter::default())
    }
}

impl From<Modal> for Config {
    fn from(modal: Modal) -> Self {
        (*modal.launcher.config).clone()
    }
}

impl Modal {
    /// The image that is used if [`image`](Self::image) sets no other.
    pub const DEFAULT_IMAGE: &str = DEFAULT_IMAGE;

    /// The defaults. Nothing is sent to Modal yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the token. Default: as above. It is not part of the serialised configuration, and nothing shows
    /// it.
    pub fn token(self, id: impl Into<String>, secret: impl Into<String>) -> Self {
        self.with(|config| config.token = Some(AccountToken { id: id.into(), secret: secret.into() }))
    }

    /// Sets the profile of `~/.modal.toml` whose token is used. Default: `MODAL_PROFILE`, or the active one;
    /// a token in the environment comes before both, but not before a profile set here.
    pub fn profile(self, name: impl Into<String>) -> Self {
        self.with(|config| config.profile = Some(name.into()))
    }

    /// Sets Modal's address. Default: `MODAL_SERVER_URL`, the profile's, or `https://api.modal.com`. Without
    /// encryption only this machine is taken.
    pub fn server_url(self, url: impl Into<String>) -> Self {
        self.with(|config| config.server_url = Some(url.into()))
    }

    /// Sets the app that sandboxes belong to. Default `abyme`.
    pub fn app(self, name: impl Into<String>) -> Self {
        self.with(|config| config.app = name.into())
    }

    /// Sets whether the app is made if it does not exist. Default true.
    pub fn create_app(self, on: bool) -> Self {
        self.with(|config| config.create_app = on)
    }

    /// Sets Modal's environment, such as `main`. Default: `MODAL_ENVIRONMENT`, the profile's, or the
    /// account's default one.
    pub fn environment(self, name: impl Into<String>) -> Self {
        self.with(|config| config.environment = Some(name.into()))
    }

    /// Sets the image, by its name in a registry. Any for linux/amd64 with Python 3.9 or later works. Default
    /// [`DEFAULT_IMAGE`](Self::DEFAULT_IMAGE).
    pub fn image(self, image: impl Into<String>) -> Self {
        self.with(|config| {
            config.image = image.into();
            config.image_id = None;
        })
    }

    /// Sets the image, by Modal's id of one that is built. Packages and Dockerfile lines are not added to it.
    pub fn image_id(self, id: impl Into<String>) -> Self {
        self.with(|config| config.image_id = Some(id.into()))
    }

    /// Adds packages of Debian to the image.
    pub fn apt_packages<P: Into<String>>(self, packages: impl IntoIterator<Item = P>) -> Self {
        self.with(|config| config.apt_packages.extend(packages.into_iter().map(Into::into)))
    }

    /// Adds packages of PyPI to the image, such as `pandas>=2`.
    pub fn pip_packages<P: Into<String>>(self, packages: impl IntoIterator<Item = P>) -> Self {
        self.with(|config| config.pip_packages.extend(packages.into_iter().map(Into::into)))
    }

    /// Adds lines of a Dockerfile after the packages, such as `ENV A=1` or `RUN make`.
    pub fn dockerfile_lines<L: Into<String>>(self, lines: impl IntoIterator<Item = L>) -> Self {
        self.with(|config| config.dockerfile_lines.extend(lines.into_iter().map(Into::into)))
    }

    /// Sets what is called with the progress of an image that is built. By default the progress is logged.
    /// Not part of the serialised configuration.
    pub fn on_progress(self, report: impl Fn(BuildProgress) + Send + Sync + 'static) -> Self {
        Self::build(self.into(), Reporter::new(report))
    }

    /// Sets the Python to run in the image: a name on its `PATH`, or a path. Default `python3`.
    pub fn python(self, python: impl Into<String>) -> Self {
        self.with(|config| config.python = python.into())
    }

    /// Lets sessions see the variables of a secret that Modal keeps, by its name.
    ///
    /// The code in a session can hand everything that it can read to a model or a tool. The keys of models do
    /// not belong here: the host makes the model calls.
    pub fn secret(self, name: impl Into<String>) -> Self {
        self.with(|config| config.secrets.push(name.into()))
    }

    /// Lets sessions see a variable of the host's environment. Default none.
    pub fn allow_env(self, name: impl Into<String>) -> Self {
        self.with(|config| config.env_allow.push(name.into()))
    }

    /// Sets an environment variable of sessions.
    pub fn env(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.with(|config| {
            config.env.insert(name.into(), value.into());
        })
    }

    /// Sets how many processors a sandbox gets, 0.125 or more. Default: Modal's own, 0.125.
    pub fn cpus(self, cpus: impl Into<Option<f64>>) -> Self {
        self.with(|config| config.cpus = cpus.into())
    }

    /// Sets the memory of a sandbox, in bytes, which is reserved and paid for. Default 1 GiB; `None` reserves
    /// Modal's 128 MiB and limits nothing.
    pub fn memory_limit_bytes(self, bytes: impl Into<Option<u64>>) -> Self {
        self.with(|config| config.memory_limit_bytes = bytes.into())
    }

    /// Gives a sandbox a GPU, such as `T4`, or several, as in `A100:2`. Needs sandboxes of the first kind,
    /// which are used then.
    pub fn gpu(self, gpu: impl Into<String>) -> Self {
        self.with(|config| config.gpu = Some(gpu.into()))
    }

    /// Adds a region where sandboxes may run, such as `us-east`. Default: anywhere.
    pub fn region(self, region: impl Into<String>) -> Self {
        self.with(|config| config.regions.push(region.into()))
    }

    /// Sets what of the network sessions reach. Default [`Network::Blocked`].
    pub fn network(self, network: Network) -> Self {
        self.with(|config| config.network = network)
    }

    /// Sets the name of the sandbox, which only one at a time can have: for a program with one session.
    pub fn name(self, name: impl Into<String>) -> Self {
        self.with(|config| config.name = Some(name.into()))
    }

    /// Sets the working directory of sessions, an absolute path. Default: the image's.
    pub fn workdir(self, path: impl Into<String>) -> Self {
        self.with(|config| config.workdir = Some(path.into()))
    }

    /// Adds a tag to sandboxes, by which Modal's lists and bills can be searched.
    pub fn tag(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.with(|config| {
            config.tags.insert(name.into(), value.into());
        })
    }

    /// Sets the kind of sandbox. Default: the second where the options and the server allow it.
    pub fn api(self, api: impl Into<Option<Api>>) -> Self {
        self.with(|config| config.api = api.into())
    }

    /// Sets how many sessions may share a sandbox. Default 1: none do.
    ///
    /// They start faster and cost less, and are separate processes with a working directory each, but **not
    /// isolated from each other**: what one may do, it may do to the others.
    pub fn sessions_per_sandbox(self, sessions: usize) -> Self {
        self.with(|config| config.sessions_per_sandbox = sessions)
    }

    /// Sets whether sessions can be saved: [`snapshot`](CodeInterpreter::snapshot) and
    /// [`restore`](InterpreterFactory::restore). Default false.
    ///
    /// Modal saves the memory of a sandbox in its experimental VM runtime only, for accounts that it has
    /// enabled for that, and keeps it for a week. The sandbox ends with it, so a session that is saved goes
    /// on in a copy. The bytes of a snapshot hold Modal's id of it and the long texts that the session was
    /// given. A copy keeps the image, network, secrets, limits and time-outs of what was saved, so a `Modal`
    /// with others refuses to restore it.
    pub fn snapshots(self, on: bool) -> Self {
        self.with(|config| config.snapshots = on)
    }

    /// Sets how long a sandbox may live, whole seconds up to 24 h. Default 1 h. A cell that this would cut is
    /// not started: the session ends before it, and says so.
    pub fn timeout(self, limit: Duration) -> Self {
        self.with(|config| config.timeout = limit)
    }

    /// Sets how long a sandbox may be idle in Modal's eyes before it is terminated. Default: not limited.
    pub fn idle_timeout(self, limit: impl Into<Option<Duration>>) -> Self {
        self.with(|config| config.idle_timeout = limit.into())
    }

    /// Sets how long a sandbox, and the driver in it, may take to start, each. Default 120 s.
    pub fn start_timeout(self, limit: Duration) -> Self {
        self.with(|config| config.start_timeout = limit)
    }

    /// Sets how long each layer of an image may take to be built. Default 30 min.
    pub fn build_timeout(self, limit: Duration) -> Self {
        self.with(|config| config.build_timeout = limit)
    }

    /// Sets how much of this program's memory one message of a session may take, in bytes: a call with its
    /// arguments, a submission, or what a cell answers. Default 256 MiB. Python gets a `ValueError` for a
    /// value that would take more. As much may the calls hold that are in flight together, and the results
    /// that the session has not taken.
    pub fn max_message_bytes(self, bytes: u64) -> Self {
        self.with(|config| config.max_message_bytes = bytes)
    }

    /// Sets how long a cell may run after its time limit before its sandbox is terminated. The cell is
    /// interrupted at its limit and once more half-way through the grace. Default 1.2 s.
    pub fn interrupt_grace(self, grace: Duration) -> Self {
        self.with(|config| config.interrupt_grace = grace)
    }

    /// Checks the token and makes Modal have the app and the image. Makes no sandbox. The first session does
    /// the same.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](abyme_core::ErrorKind::Unavailable) if there is no token or Modal does not
    /// take it, or is not reached; [`ErrorKind::Config`](abyme_core::ErrorKind::Config) for an app, a secret
    /// or an image that does not exist or cannot be built.
    pub async fn prepare(&self) -> Result<AccountInfo> {
        self.launcher.config.check()?;
        let prepared = self.launcher.prepared().await?;
        let control_plane = &self.launcher.connection().await?.control_plane;
        Ok(AccountInfo {
            url: control_plane.url().to_owned(),
            token_origin: control_plane.token_origin().to_owned(),
            environment: control_plane.environment().to_owned(),
            app_id: prepared.app_id.clone(),
            image_id: prepared.image_id.clone(),
        })
    }

    /// Terminates sandboxes of programs on this machine that ended without doing so, as when they were
    /// killed, and returns how many there were. The first use of a factory does the same in the background.
    ///
    /// # Errors
    /// Those of [`prepare`](Self::prepare).
    pub async fn sweep(&self) -> Result<usize> {
        self.launcher.sweep().await
    }

    /// Waits until the sandboxes of all sessions that were dropped or shut down are terminated. Call it
    /// before the program ends. Sessions that are still in use are left alone, and further ones can be made.
    pub async fn shutdown(&self) {
        self.launcher.settled().await;
    }

    fn build(config: Config, reporter: Reporter) -> Self {
        let capabilities = capabilities(&config);
        Self { launcher: Arc::new(ModalLauncher::new(config, capabilities, reporter)) }
    }

    /// Changes the configuration. The result shares nothing with `self`.
    fn with(self, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = (*self.launcher.config).clone();
        change(&mut config);
        Self::build(config, self.launcher.reporter.clone())
    }
}

/// What Modal says of an account and a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccountInfo {
    /// Modal's address.
    pub url: String,
    /// Where the token is from, such as a profile. Never the token.
    pub token_origin: String,
    /// Modal's environment; empty for the account's default one.
    pub environment: String,
    /// Modal's id of the app.
    pub app_id: String,
    /// Modal's id of the image.
    pub image_id: String,
}

impl fmt::Display for AccountInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, token_origin, app_id, image_id, .. } = self;
        write!(f, "Modal at {url} takes the token from {token_origin}; app {app_id}, image {image_id}")
    }
}

fn capabilities(config: &Config) -> Capabilities {
    let mut capabilities = Capabilities::new(Isolation::Machine);
    capabilities.network = match &config.network {
        Network::Blocked => Access::Denied,
        Network::Domains(_) => Access::AllowList,
        Network::Open => Access::Open,
    };
    capabilities.host_files = Access::Denied;
    capabilities.environment = Access::AllowList;
    // Programs of the image can be started, within the sandbox and its limits.
    capabilities.processes = Access::Open;
    capabilities.memory_limit_bytes = config.memory_limit_bytes;
    capabilities.interrupt = true;
    capabilities.crash_isolated = true;
    capabilities.threads = true;
    capabilities.concurrent_calls = true;
    capabilities.native_packages = true;
    capabilities.snapshot = config.snapshots;
    let packages = match config.pip_packages.is_empty() {
        true => "Packages can be imported if the sandbox's image has them.".to_owned(),
        false => format!("These packages can be imported: {}.", config.pip_packages.join(", ")),
    };
    capabilities.notes = vec![packages];
    match &config.network {
        Network::Blocked => {
            capabilities
                .notes
                .push("There is no network: nothing can be downloaded or installed.".to_owned());
        }
        Network::Domains(domains) => {
            capabilities.notes.push(format!("Only these domains can be reached: {}.", domains.join(", ")));
        }
        Network::Open => {}
    }
    if let Some(gpu) = &config.gpu {
        capabilities.notes.push(format!("There is a GPU: {gpu}."));
    }
    capabilities
}

#[async_trait]
impl InterpreterFactory for Modal {
    fn name(&self) -> &str {
        "modal"
    }

    fn capabilities(&self) -> &Capabilities {
        &self.launcher.capabilities
    }

    async fn create(&self) -> Result<Box<dyn CodeInterpreter>> {
        Ok(Box::new(DriverInterpreter::new(self.launcher.clone())))
    }

    async fn restore(&self, snapshot: &[u8]) -> Result<Box<dyn CodeInterpreter>> {
        let capabilities = self.capabilities();
        if !capabilities.snapshot {
            return Err(capabilities.refuse("restored from bytes", "snapshot", false));
        }
        let session = self.launcher.restore(snapshot).await?;
        Ok(Box::new(DriverInterpreter::started(self.launcher.clone(), session)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_survives_serde() {
        let modal =
            Modal::new().pip_packages(["numpy"]).network(Network::Domains(vec!["pypi.org".to_owned()]));
        let modal = modal.idle_timeout(Duration::from_millis(2500)).gpu("T4").tag("team", "red");
        let text = serde_json::to_string(&modal.clone().token("ak-mine", "as-mine")).unwrap();
        assert!(!text.contains("-mine") && text.contains("2.5"), "{text}");
        assert_eq!(serde_json::from_str::<Modal>(&text).unwrap().launcher.config, modal.launcher.config);
        let read: Modal = serde_json::from_str("{}").unwrap();
        assert_eq!(*read.launcher.config, Config::default());
    }
}
