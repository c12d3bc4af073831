//! Starts sessions: a driver for each, in a sandbox of its own or in one that it shares.

use std::{
    any::Any,
    collections::HashMap,
    sync::{
        Arc, LazyLock, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use abyme_core::{Capabilities, Error, ErrorKind, Result};
use abyme_driver::{
    BackgroundThread, Control, DriverCode, DriverSession, DriverTimeouts, Launcher, Owner, python::BOOT,
};
use async_trait::async_trait;
use prost::Message;
use sha2::{Digest, Sha256};
use tokio::{
    io::AsyncWriteExt,
    sync::{Mutex as AsyncMutex, OnceCell},
    time::timeout,
};
use tonic::{Code, Status};

use crate::{
    api::{
        ControlPlane, NewSandbox, Router,
        messages::{
            GpuConfig, NetworkAccess, NetworkAccessType, Resources, Sandbox as Definition,
            SchedulerPlacement, StringMap, TaskExecStdioFileDescriptor,
        },
        random_id,
    },
    config::{Api, Config, Network},
    image::{self, Reporter},
    sandbox::{self, Input, Link, Output, Process, Sandbox},
    snapshot::{self, Snapshot},
};

/// The first lines of the program that Python is started with: an old Python cannot read the driver, and says
/// so. A driver leads a group of its own, so that it can be killed with what it started.
const FIRST_LINES: &str = "import os, sys
if sys.version_info < (3, 9):
    sys.exit('abyme: Python %d.%d.%d is too old, 3.9 or later is needed' % sys.version_info[:3])
try:
    os.setsid()
except OSError:
    pass
try:
    from fcntl import fcntl
    for pipe in 0, 1:
        fcntl(pipe, 1031, 1 << 20)  # F_SETPIPE_SZ, which Python 3.9 has no name for
except (ImportError, OSError):
    pass
";

/// The own program of a sandbox that can be saved. It runs the driver, and relays connect to that.
const RUNNER: &str = include_str!("sandbox/runner.py");
const RELAY: &str = include_str!("sandbox/relay.py");
const RUNNER_SOCKET: &str = "/tmp/.abyme-runner";
/// A driver that was saved draws other random numbers from there on: its runner writes a seed and sends a
/// signal.
const RESEED: &str = "import signal
def _reseed(*_):
    with open('/tmp/.abyme-runner.seed') as file:
        # First what differs between the copies of one snapshot: their `urandom` may not.
        seed = file.read() + os.urandom(16).hex()
    if 'random' in sys.modules:
        sys.modules['random'].seed(seed)
    if 'numpy.random' in sys.modules:
        sys.modules['numpy.random'].seed(int(seed[:8], 16))
signal.signal(signal.SIGUSR1, _reseed)
";

/// What all sessions of one [`Modal`](crate::Modal) share. Code in the sessions cannot reach it.
#[derive(Debug)]
pub(crate) struct ModalLauncher {
    pub(crate) config: Arc<Config>,
    pub(crate) capabilities: Capabilities,
    pub(crate) reporter: Reporter,
    owner: LazyLock<Owner>,
    connection: OnceCell<Connection>,
    /// What the account has for the configuration, looked up on first use.
    prepared: OnceCell<Prepared>,
    /// For sandboxes of one session: in others, cells of one could change what the next one compiles.
    code: DriverCode,
    /// Whether the server knows no sandboxes of the second kind.
    without_v2: AtomicBool,
    /// Sandboxes with room for further drivers, and the right to make one more.
    shared: AsyncMutex<Vec<Weak<Sandbox>>>,
    swept: Mutex<bool>,
}

/// The connection to Modal, and the thread that uses it.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) thread: Arc<BackgroundThread>,
    pub(crate) control_plane: Arc<ControlPlane>,
}

/// Ids of what the configuration names.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) app_id: String,
    pub(crate) image_id: String,
    secret_ids: Vec<String>,
}

impl ModalLauncher {
    pub(crate) fn new(config: Config, capabilities: Capabilities, reporter: Reporter) -> Self {
        Self {
            config: Arc::new(config),
            capabilities,
            reporter,
            owner: LazyLock::new(Owner::this),
            connection: OnceCell::new(),
            prepared: OnceCell::new(),
            code: DriverCode::default(),
            without_v2: AtomicBool::new(false),
            shared: AsyncMutex::default(),
            swept: Mutex::new(false),
        }
    }

    /// The connection, made on first use. A failure is not remembered.
    pub(crate) async fn connection(&self) -> Result<&Connection> {
        let connect = || async {
            let thread = Arc::new(BackgroundThread::start("modal")?);
            let config = self.config.clone();
            // Sockets belong to the runtime that opens them, so the thread that uses them must open them.
            let connecting = async move { ControlPlane::connect(&config).await };
            let control_plane = Arc::new(thread.run(connecting).await??);
            Ok(Connection { thread, control_plane })
        };
        self.connection.get_or_try_init(connect).await
    }

    /// The app, the image and the secrets. Further callers wait while an image is built.
    pub(crate) async fn prepared(&self) -> Result<&Prepared> {
        let prepare = || async {
            let Connection { thread, control_plane } = self.connection().await?.clone();
            let (config, reporter) = (self.config.clone(), self.reporter.clone());
            let prepared = thread.run(async move {
                let app_id = control_plane.app(&config.app, config.create_app).await?;
                let mut secret_ids = Vec::new();
                for name in &config.secrets {
                    secret_ids.push(control_plane.secret(name).await?);
                }
                let image_id = image::ensure(&control_plane, &config, &app_id, &reporter).await?;
                Ok::<_, Error>(Prepared { app_id, image_id, secret_ids })
            });
            let prepared = prepared.await??;
            self.sweep_in_background(&prepared).await?;
            Ok(prepared)
        };
        self.prepared.get_or_try_init(prepare).await
    }

    fn api(&self) -> Api {
        match self.config.api() {
            Api::V2 if self.without_v2.load(Ordering::Acquire) => Api::V1,
            api => api,
        }
    }

    /// Terminates the sandboxes of programs that have ended.
    pub(crate) async fn sweep(&self) -> Result<usize> {
        let Connection { thread, control_plane } = self.connection().await?.clone();
        let app_id = self.prepared().await?.app_id.clone();
        let (owner, api) = (self.owner.clone(), self.api());
        let failed = control_plane.clone();
        let sweeping = async move { sandbox::sweep(&control_plane, &app_id, &owner, api).await };
        let swept = thread.run_to_end(sweeping).await?;
        swept.map_err(|status| failed.failed("cannot look for sandboxes left behind", &status))
    }

    /// Does the same without waiting for it, once.
    async fn sweep_in_background(&self, prepared: &Prepared) -> Result<()> {
        if std::mem::replace(&mut *self.swept.lock().unwrap_or_else(PoisonError::into_inner), true) {
            return Ok(());
        }
        let Connection { thread, control_plane } = self.connection().await?.clone();
        let (app_id, owner, api) = (prepared.app_id.clone(), self.owner.clone(), self.api());
        thread.spawn(async move {
            if let Err(status) = sandbox::sweep(&control_plane, &app_id, &owner, api).await {
                tracing::debug!(code = ?status.code(), "sandboxes left behind could not be looked for");
            }
        });
        Ok(())
    }

    /// Waits until everything that is to be terminated has been.
    pub(crate) async fn settled(&self) {
        if let Some(connection) = self.connection.get() {
            connection.thread.settled().await;
        }
    }

    /// A sandbox for one more driver.
    async fn sandbox(&self) -> Result<Arc<Sandbox>> {
        let room = self.config.sessions_per_sandbox;
        if room == 1 {
            let sandbox = Arc::new(self.make_sandbox().await?);
            sandbox.drivers.fetch_add(1, Ordering::AcqRel);
            return Ok(sandbox);
        }
        // One at a time: those that start at once are to share the one that the first of them makes.
        let mut shared = self.shared.lock().await;
        shared.retain(|sandbox| sandbox.strong_count() > 0);
        let has_room = |sandbox: &Arc<Sandbox>| {
            let young = sandbox.time_left() > sandbox.lifetime / 2;
            young && !sandbox.has_ended() && sandbox.drivers.load(Ordering::Acquire) < room
        };
        if let Some(sandbox) = shared.iter().filter_map(Weak::upgrade).find(has_room) {
            sandbox.drivers.fetch_add(1, Ordering::AcqRel);
            return Ok(sandbox);
        }
        let sandbox = Arc::new(self.make_sandbox().await?);
        sandbox.drivers.fetch_add(1, Ordering::AcqRel);
        shared.push(Arc::downgrade(&sandbox));
        Ok(sandbox)
    }

    async fn make_sandbox(&self) -> Result<Sandbox> {
        let Connection { thread, control_plane } = self.connection().await?.clone();
        let prepared = self.prepared().await?;
        let new = NewSandbox {
            app_id: prepared.app_id.clone(),
            definition: definition(&self.config, &prepared.image_id),
            secret_ids: prepared.secret_ids.clone(),
            tags: sandbox::tags(&self.owner, &self.config.tags),
        };
        let config = self.config.clone();
        let (api, may_change) = (self.api(), self.config.api.is_none() && !self.config.snapshots);
        let inner = thread.clone();
        let making = async move {
            match Sandbox::make(control_plane.clone(), inner.clone(), &config, new.clone(), api).await {
                Err((_, Code::Unimplemented)) if api == Api::V2 && may_change => {
                    let made = Sandbox::make(control_plane, inner, &config, new, Api::V1).await;
                    (made, true)
                }
                made => (made, false),
            }
        };
        // If this future is dropped, the sandbox is made all the same, and terminated at once.
        let (made, without_v2) = thread.run_to_end(making).await?;
        if without_v2 {
            self.without_v2.store(true, Ordering::Release);
        }
        made.map_err(|(error, _)| error)
    }

    /// What a sandbox of these settings is made of, as a hash.
    fn settings(&self, prepared: &Prepared) -> String {
        let mut definition = definition(&self.config, &prepared.image_id);
        definition.secret_ids.clone_from(&prepared.secret_ids);
        let hash = Sha256::digest([self.config.python.as_bytes(), &definition.encode_to_vec()].concat());
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn not_started(&self, router: &Router, status: &Status) -> Error {
        let what = format!("cannot run `{}` in a sandbox", self.config.python);
        if !matches!(status.code(), Code::InvalidArgument | Code::NotFound | Code::FailedPrecondition) {
            return router.failed(&what, status);
        }
        let image = self.config.image_id.as_ref().unwrap_or(&self.config.image);
        let why = format!(
            "{what} of the image {image} ({}): use an image with Python 3.9 or later, or set `python` to \
             where it is",
            status.message()
        );
        Error::new(ErrorKind::Unavailable, why)
    }

    /// The program that Python is started with.
    fn program(&self) -> String {
        let mut program = FIRST_LINES.to_owned();
        if let Some(bytes) = self.config.memory_limit_bytes {
            // A process's request is refused a little before the memory is full: a `MemoryError` and no kill.
            let bytes = bytes - bytes / 16;
            program.push_str(&format!(
                "import resource\nresource.setrlimit(resource.RLIMIT_DATA, ({bytes}, {bytes}))\n"
            ));
        }
        if self.config.snapshots {
            program.push_str(RESEED);
        }
        if self.config.sessions_per_sandbox > 1 {
            program.push_str("import tempfile\nos.chdir(tempfile.mkdtemp(prefix='abyme-'))\n");
        }
        program.push_str(BOOT);
        program
    }
}

fn definition(config: &Config, image_id: &str) -> Definition {
    // A fraction of a second more of life than asked for does not matter, none at all would.
    let seconds =
        |time: std::time::Duration| u32::try_from(time.as_secs_f64().ceil() as u64).unwrap_or(u32::MAX);
    let memory = config.memory_limit_bytes.map_or(0, |bytes| u32::try_from(bytes >> 20).unwrap_or(u32::MAX));
    let milli_cpu = config.cpus.map_or(0, |cpus| (cpus * 1000.0).round() as u32);
    let (access, allowed_domains) = match &config.network {
        Network::Blocked => (NetworkAccessType::Blocked, Vec::new()),
        Network::Domains(domains) => (NetworkAccessType::Allowlist, domains.clone()),
        Network::Open => (NetworkAccessType::Open, Vec::new()),
    };
    let (entrypoint_args, experimental_options_v2) = match config.snapshots {
        true => {
            let runner = [&config.python, "-I", "-c", RUNNER, RUNNER_SOCKET].map(str::to_owned);
            (runner.to_vec(), HashMap::from([("vm_runtime".to_owned(), "True".to_owned())]))
        }
        // It keeps the sandbox alive; drivers are started beside it.
        false => (vec!["sleep".to_owned(), seconds(config.timeout).to_string()], HashMap::new()),
    };
    Definition {
        entrypoint_args,
        enable_snapshot: config.snapshots,
        experimental_options_v2,
        image_id: image_id.to_owned(),
        secret_ids: Vec::new(),
        resources: Some(Resources {
            memory_mb: memory,
            milli_cpu,
            gpu_config: config.gpu.as_deref().map(gpu),
            memory_mb_max: memory,
            milli_cpu_max: milli_cpu,
        }),
        timeout_secs: seconds(config.timeout),
        workdir: config.workdir.clone(),
        scheduler_placement: (!config.regions.is_empty())
            .then(|| SchedulerPlacement { regions: config.regions.clone() }),
        network_access: Some(NetworkAccess { network_access_type: access.into(), allowed_domains }),
        name: config.name.clone(),
        idle_timeout_secs: config.idle_timeout.map(seconds),
    }
}

/// A GPU as Modal names it: `H100`, or `A100:2` for two.
fn gpu(name: &str) -> GpuConfig {
    let (kind, count) = match name.split_once(':') {
        Some((kind, count)) => (kind, count.parse().unwrap_or(1)),
        None => (name, 1),
    };
    GpuConfig { count, gpu_type: kind.to_uppercase() }
}

impl ModalLauncher {
    /// A session that goes on where a snapshot was taken.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for bytes that are none, [`ErrorKind::Unavailable`] where Modal does not
    /// have it any more.
    pub(crate) async fn restore(&self, bytes: &[u8]) -> Result<DriverSession<Output, Input>> {
        self.config.check()?;
        let Snapshot { snapshot_id, settings, saved } = snapshot::from_bytes(bytes)?;
        // It sweeps, and finds a mistake in the configuration.
        let prepared = self.prepared().await?;
        // Modal makes the copy with what the sandbox was made with, its network and its secrets too.
        if settings != self.settings(prepared) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "this session was saved with other settings of `Modal`, and its copy would keep their image, \
                 network, secrets, limits and time-outs: restore it with those, or begin a new session",
            ));
        }
        let (process, output, input) = self.connect(self.copy_of(&snapshot_id).await?).await?;
        let session = DriverSession::resumed(output, input, process, self.timeouts(), saved);
        Ok(session.max_message_bytes(self.config.max_message_bytes))
    }

    async fn copy_of(&self, snapshot_id: &str) -> Result<Arc<Sandbox>> {
        let Connection { thread, control_plane } = self.connection().await?.clone();
        let tags = sandbox::tags(&self.owner, &self.config.tags);
        let (config, inner, snapshot_id) = (self.config.clone(), thread.clone(), snapshot_id.to_owned());
        let restoring =
            async move { Sandbox::restore(control_plane, inner, &config, &snapshot_id, tags).await };
        // If this future is dropped, the copy is made all the same, and terminated at once.
        let sandbox = Arc::new(thread.run_to_end(restoring).await??);
        sandbox.drivers.fetch_add(1, Ordering::AcqRel);
        Ok(sandbox)
    }

    fn timeouts(&self) -> DriverTimeouts {
        DriverTimeouts {
            start_timeout: self.config.start_timeout,
            interrupt_grace: self.config.interrupt_grace,
        }
    }

    /// Runs the driver in a sandbox, or connects to the one that its runner runs.
    async fn connect(&self, sandbox: Arc<Sandbox>) -> Result<(Arc<Process>, Output, Input)> {
        let thread = sandbox.thread.clone();
        let (router, exec_id) = (sandbox.router.clone(), random_id());
        let python = self.config.python.clone();
        let driver = [python.clone(), "-I".to_owned(), "-c".to_owned(), self.program(), exec_id.clone()];
        let relay = [&python, "-I", "-c", RELAY, RUNNER_SOCKET, &exec_id].map(str::to_owned);
        let relay = relay.into_iter().filter(|_| self.config.snapshots);
        let command = relay.chain(driver).collect();
        let contents: HashMap<_, _> = self.config.environment_of_sessions().into_iter().collect();
        let env = StringMap { contents };
        let link = Arc::new(Link::default());
        let starting = {
            let (router, exec_id, link) = (router.clone(), exec_id.clone(), link.clone());
            async move {
                let started = router.start(&exec_id, command, env, true).await;
                // From here on the driver is killed, and its sandbox terminated, when this is dropped.
                (Arc::new(Process::new(sandbox, exec_id, python, link)), started)
            }
        };
        let (process, started) = thread.run_to_end(starting).await?;
        if let Err(status) = started {
            process.kill().await;
            return Err(self.not_started(&router, &status));
        }
        let output = Output::new(router.clone(), &exec_id, TaskExecStdioFileDescriptor::Stdout, link);
        Ok((process, output, Input::new(router, thread, &exec_id)))
    }
}

#[async_trait]
impl Launcher for ModalLauncher {
    type Reader = Output;
    type Writer = Input;

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn launch(&self) -> Result<DriverSession<Output, Input>> {
        self.config.check()?;
        let sandbox = self.sandbox().await?;
        let code = if sandbox.is_shared { sandbox.code.clone() } else { self.code.clone() };
        let (process, mut output, mut input) = self.connect(sandbox).await?;
        let sending = async {
            input.write_all(&code.bundle()).await?;
            input.flush().await
        };
        // The handshake detects a driver that ends or never reads, and says how it ended.
        let start_timeout = self.config.start_timeout;
        let _ = timeout(start_timeout, async { tokio::join!(sending, output.opened()) }).await;
        let session = DriverSession::new(output, input, process, self.timeouts()).keeps_code(&code);
        Ok(session.max_message_bytes(self.config.max_message_bytes))
    }

    async fn snapshot(&self, session: &mut DriverSession<Output, Input>) -> Result<Vec<u8>> {
        let lost =
            |why: &str| Error::new(ErrorKind::Unavailable, format!("the session was not saved: {why}"));
        let saved = session.saved().ok_or_else(|| lost("it is not ready"))?;
        let control = session.control().clone();
        let process = (&*control as &dyn Any).downcast_ref::<Process>();
        let process = process.ok_or_else(|| lost("it is another backend's"))?;
        session.part().await.map_err(|error| lost(&error.to_string()))?;
        let sandbox = process.part().await.ok_or_else(|| lost("it has ended"))?;
        let (router, thread) = (sandbox.router.clone(), sandbox.thread.clone());
        let saving = router.clone();
        let snapshot_id = thread.run_to_end(async move { saving.snapshot_memory().await }).await?;
        // A sandbox that was saved has ended, and its copy goes on; one that was not goes on itself.
        let snapshot_id = match snapshot_id {
            Ok(snapshot_id) => snapshot_id,
            Err(status) => {
                sandbox.drivers.fetch_add(1, Ordering::AcqRel);
                let (process, output, input) = self.connect(sandbox).await?;
                session.reconnect(output, input, process);
                return Err(router.failed("Modal did not save the session", &status));
            }
        };
        let ending = sandbox.clone();
        // Also if this future is dropped: what was saved must not be paid for twice.
        thread.run_to_end(async move { ending.terminate().await }).await?;
        let copy = self.copy_of(&snapshot_id).await?;
        let (process, output, input) = self.connect(copy).await?;
        session.reconnect(output, input, process);
        let settings = self.settings(self.prepared().await?);
        snapshot::to_bytes(&Snapshot { snapshot_id, settings, saved })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_are_counted() {
        assert_eq!(gpu("h100"), GpuConfig { count: 1, gpu_type: "H100".to_owned() });
        assert_eq!(gpu("A100-80GB:2"), GpuConfig { count: 2, gpu_type: "A100-80GB".to_owned() });
    }

    #[test]
    fn the_program_fits_into_the_arguments() {
        let launcher = ModalLauncher::new(
            Config { sessions_per_sandbox: 2, ..Config::default() },
            Capabilities::new(abyme_core::Isolation::Machine),
            Reporter::default(),
        );
        assert!(launcher.program().len() < 1 << 14);
    }
}
