//! The interpreters this command was built with, by name.

use std::{path::PathBuf, sync::Arc};

use abyme::{InterpreterFactory, Subprocess, Wasm, subprocess::IsolationMode};

use crate::{exit::Failure, terminal};

/// What sessions of any backend are made with, as far as the backend knows it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) python: Option<PathBuf>,
    /// The image of containers.
    pub(crate) image: Option<String>,
    /// Bytes a session may take.
    pub(crate) memory: Option<u64>,
    /// Bytes of a session's files: of one, or of all together, as the backend counts them.
    pub(crate) disk: Option<u64>,
    /// Bytes of this process that a message of a session may take.
    pub(crate) message: Option<u64>,
    /// What a session of the `subprocess` backend does about a mechanism of its isolation that is missing.
    pub(crate) isolation: Option<Isolation>,
    /// How many sessions may live at once, where that has to be known before.
    pub(crate) sessions: Option<u32>,
}

/// The flag `--isolation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Isolation {
    /// A session that cannot be isolated does not start
    Required,
    /// It starts with what this machine has
    BestEffort,
    /// Code has the rights of the user who runs this command
    Off,
}

impl From<Isolation> for IsolationMode {
    fn from(isolation: Isolation) -> Self {
        match isolation {
            Isolation::Required => IsolationMode::Required,
            Isolation::BestEffort => IsolationMode::BestEffort,
            Isolation::Off => IsolationMode::Off,
        }
    }
}

/// Bytes of an option in MB.
pub(crate) fn megabytes(mb: Option<u64>) -> Option<u64> {
    mb.map(|mb| mb << 20)
}

/// The backends compiled in; the first is the default.
pub(crate) const COMPILED: &[&str] = &[
    "wasm",
    "subprocess",
    #[cfg(feature = "docker")]
    "docker",
    #[cfg(feature = "modal")]
    "modal",
    #[cfg(feature = "pyo3")]
    "pyo3",
];

/// The backends left out, each with how to get it.
pub(crate) const LEFT_OUT: &[(&str, &str)] = &[
    #[cfg(not(feature = "docker"))]
    ("docker", "build `abyme` with `--features docker`"),
    #[cfg(not(feature = "modal"))]
    ("modal", "build `abyme` with `--features modal`"),
    #[cfg(not(feature = "pyo3"))]
    ("pyo3", "build `abyme` with `--features pyo3`, which needs libpython (Debian: python3-dev)"),
];

/// What costs money to try, with what it costs.
pub(crate) const PAID: &[(&str, &str)] =
    &[("modal", "two small sandboxes for some seconds, less than 0.01 $ at Modal's prices of 2026")];

/// Bytes of memory that a session needs in which Python holds `text` bytes, and for a moment what they are
/// made from.
pub(crate) fn memory_for(name: &str, text: u64) -> u64 {
    const ALL_OF_32_BITS: u64 = 4 << 30;
    match name {
        "wasm" => (512 << 20).max((256 << 20) + 3 * text).min(ALL_OF_32_BITS),
        "docker" => (512 << 20).max((256 << 20) + 3 * text),
        "modal" => (1 << 30).max((256 << 20) + 3 * text),
        _ => (4 << 30) + 3 * text,
    }
}

/// Makes a factory by its backend's name.
pub(crate) fn factory(name: &str, settings: &Settings) -> Result<Arc<dyn InterpreterFactory>, Failure> {
    if let ("wasm", Some(python)) = (name, &settings.python) {
        return Err(Failure::usage(format!(
            "--python {} is for the other interpreters, and this is `wasm`, which brings its own Python; \
             choose `subprocess`, or leave --python out",
            python.display()
        )));
    }
    if let (Some(image), true) = (&settings.image, !matches!(name, "docker" | "modal")) {
        return Err(Failure::usage(format!(
            "--image {image} is for the `docker` and `modal` interpreters, and this is `{name}`"
        )));
    }
    if settings.isolation.is_some() && name != "subprocess" {
        return Err(Failure::usage(format!(
            "--isolation is for the `subprocess` interpreter, and this is `{name}`, whose isolation cannot \
             be chosen"
        )));
    }
    match name {
        "wasm" => Ok(Arc::new(wasm(settings))),
        "subprocess" => Ok(Arc::new(subprocess(settings))),
        #[cfg(feature = "docker")]
        "docker" => Ok(Arc::new(docker(settings, abyme::docker::Pull::Missing))),
        #[cfg(feature = "modal")]
        "modal" => Ok(Arc::new(modal(settings)?)),
        #[cfg(feature = "pyo3")]
        "pyo3" => {
            let pyo3 = pyo3(settings)?;
            Ok(Arc::new(pyo3))
        }
        _ => {
            let what = match LEFT_OUT.iter().find(|(left_out, _)| *left_out == name) {
                Some((_, how)) => format!("is not in this `abyme` ({how})"),
                None => "is no interpreter".to_owned(),
            };
            Err(Failure::usage(format!("`{name}` {what}; this `abyme` has: {}", COMPILED.join(", "))))
        }
    }
}

/// The `wasm` backend, which says on stderr what it does while it prepares Python for this machine.
pub(crate) fn wasm(settings: &Settings) -> Wasm {
    // Each session reserves addresses, which may be limited (`ulimit -v`).
    let mut wasm = Wasm::new().max_sessions(settings.sessions.unwrap_or(4));
    if let Some(bytes) = settings.memory {
        wasm = wasm.memory_limit_bytes(bytes);
    }
    if let Some(bytes) = settings.disk {
        wasm = wasm.disk_limit_bytes(bytes);
    }
    if let Some(bytes) = settings.message {
        wasm = wasm.max_message_bytes(bytes);
    }
    wasm.on_progress(|progress| terminal::say(&format!("abyme: {progress}")))
}

fn subprocess(settings: &Settings) -> Subprocess {
    let mut subprocess = Subprocess::new();
    if let Some(python) = &settings.python {
        subprocess = subprocess.python(python);
    }
    if let Some(bytes) = settings.memory {
        subprocess = subprocess.memory_limit_bytes(bytes);
    }
    if let Some(bytes) = settings.disk {
        subprocess = subprocess.max_file_bytes(bytes).disk_limit_bytes(bytes);
    }
    if let Some(isolation) = settings.isolation {
        subprocess = subprocess.isolation(isolation.into());
    }
    if let Some(bytes) = settings.message {
        subprocess = subprocess.max_message_bytes(bytes);
    }
    subprocess
}

/// The `docker` backend, which says on stderr that it fetches an image.
#[cfg(feature = "docker")]
pub(crate) fn docker(settings: &Settings, pull: abyme::docker::Pull) -> abyme::Docker {
    let report = |progress| terminal::say(&format!("abyme: {progress}"));
    let mut docker = abyme::Docker::new().pull(pull).on_progress(report);
    if let Some(image) = &settings.image {
        docker = docker.image(image);
    }
    if let Some(python) = &settings.python {
        docker = docker.python(python.display().to_string());
    }
    if let Some(bytes) = settings.memory {
        docker = docker.memory_limit_bytes(bytes);
    }
    if let Some(bytes) = settings.disk {
        docker = docker.work_limit_bytes(bytes);
    }
    if let Some(bytes) = settings.message {
        docker = docker.max_message_bytes(bytes);
    }
    docker
}

/// The `modal` backend, which says on stderr that an image is built.
#[cfg(feature = "modal")]
fn modal(settings: &Settings) -> Result<abyme::Modal, Failure> {
    if let Some(bytes) = settings.disk {
        let mb = bytes >> 20;
        return Err(Failure::usage(format!(
            "--disk-mb {mb} cannot be kept by the `modal` interpreter: leave it out"
        )));
    }
    let report = |progress| terminal::say(&format!("abyme: {progress}"));
    let mut modal = abyme::Modal::new().on_progress(report);
    if let Some(image) = &settings.image {
        modal = modal.image(image);
    }
    if let Some(python) = &settings.python {
        modal = modal.python(python.display().to_string());
    }
    if let Some(bytes) = settings.memory {
        modal = modal.memory_limit_bytes(bytes);
    }
    if let Some(bytes) = settings.message {
        modal = modal.max_message_bytes(bytes);
    }
    Ok(modal)
}

/// The `pyo3` backend: its Python is linked, so a path can only name a virtual environment.
#[cfg(feature = "pyo3")]
fn pyo3(settings: &Settings) -> Result<abyme::Pyo3, Failure> {
    let mut pyo3 = abyme::Pyo3::new();
    if let Some(bytes) = settings.message {
        pyo3 = pyo3.max_message_bytes(bytes);
    }
    let Some(path) = &settings.python else { return Ok(pyo3) };
    let is_venv = |directory: &std::path::Path| directory.join("pyvenv.cfg").exists();
    match path.ancestors().take(3).find(|directory| is_venv(directory)) {
        Some(venv) => Ok(pyo3.venv(venv)),
        None => Err(Failure::usage(format!(
            "--python {} is in no virtual environment; the `pyo3` interpreter runs the Python that `abyme` \
             is linked with, and takes a virtual environment of that",
            path.display()
        ))),
    }
}
