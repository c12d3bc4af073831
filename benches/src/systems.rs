//! The systems that take part: our backends, each tried once before anything is measured, and the peers.

use std::{sync::Arc, time::Duration};

use abyme::{Docker, InterpreterFactory, Session, Subprocess, Wasm, docker::Pull};

use crate::{
    output::say,
    peers::{self, Peer},
    record::{Kind, SystemRecord},
};

/// Our backends, in the order of the tables.
pub(crate) const BACKENDS: &[&str] = &["wasm", "subprocess", "docker", "pyo3"];

/// Sessions of wasm that scenarios may have at the same time. A thousand idle ones are measured.
const WASM_SESSIONS: u32 = 1200;
/// Memory of a session, where the defaults are too little for inputs of 1 GB. Everything else is as users get
/// it.
const MEMORY: u64 = 4 << 30;
/// The time limit of a backend's first cell: wasm prepares its Python the first time, and an engine may be
/// slow.
const FIRST_CELL_TIMEOUT: Duration = Duration::from_secs(180);

/// A system that does the work of a scenario.
#[derive(Clone, Debug)]
pub(crate) enum System {
    /// One of our backends.
    Backend(Arc<dyn InterpreterFactory>),
    /// Abyme without any Python: the loop itself.
    Loop,
    /// The least that the work can cost here, such as a bare pipe. It is no system that one would use.
    Floor(&'static str),
    /// Another system, through its public interface.
    Peer(Peer),
}

/// A system that takes part, or the reason why it cannot.
pub(crate) struct Entrant {
    pub(crate) record: SystemRecord,
    pub(crate) system: Option<System>,
}

impl System {
    /// As tables call it.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Backend(factory) => factory.name().to_owned(),
            Self::Loop => "loop".to_owned(),
            Self::Floor(name) => (*name).to_owned(),
            Self::Peer(peer) => peer.name().to_owned(),
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Backend(_) => Kind::Backend,
            Self::Loop => Kind::Loop,
            Self::Floor(_) => Kind::Floor,
            Self::Peer(_) => Kind::Peer,
        }
    }
}

/// The backends of these names, each after a trial.
pub(crate) async fn backends(names: &[&'static str]) -> Vec<Entrant> {
    let mut entrants = Vec::new();
    for name in names {
        let tried = match factory(name) {
            Ok(factory) => try_out(factory.as_ref()).await.map(|version| (factory, version)),
            Err(reason) => Err(reason),
        };
        entrants.push(entrant(
            name,
            Kind::Backend,
            tried.map(|(factory, version)| (System::Backend(factory), version)),
        ));
    }
    entrants
}

/// The peers, installed and started.
pub(crate) async fn peers() -> Vec<Entrant> {
    let started = peers::start().await.into_iter();
    let entrants = started.map(|peer| match peer {
        Ok(peer) => {
            let (name, version) = (peer.name().to_owned(), peer.version().to_owned());
            entrant(&name, Kind::Peer, Ok((System::Peer(peer), version)))
        }
        Err((name, reason)) => entrant(&name, Kind::Peer, Err(reason)),
    });
    entrants.collect()
}

fn entrant(name: &str, kind: Kind, tried: Result<(System, String), String>) -> Entrant {
    let (system, version, problem) = match tried {
        Ok((system, version)) => (Some(system), version, None),
        Err(reason) => {
            say(&format!("{name} is not here: {reason}"));
            (None, String::new(), Some(reason))
        }
    };
    Entrant { record: SystemRecord { name: name.to_owned(), kind, version, problem }, system }
}

/// A backend of this name.
///
/// # Errors
/// Why there is none.
pub(crate) fn factory(name: &str) -> Result<Arc<dyn InterpreterFactory>, String> {
    match name {
        "wasm" => {
            let wasm = Wasm::new().max_sessions(WASM_SESSIONS).memory_limit_bytes(MEMORY);
            Ok(Arc::new(wasm.on_progress(|progress| say(&progress.to_string()))))
        }
        // Its limit counts addresses, of which Python takes more than it uses.
        "subprocess" => Ok(Arc::new(Subprocess::new().memory_limit_bytes(2 * MEMORY))),
        "docker" => Ok(Arc::new(docker())),
        "pyo3" => pyo3(),
        _ => Err("there is no such backend".to_owned()),
    }
}

fn docker() -> Docker {
    // A measurement downloads nothing.
    let docker = Docker::new().pull(Pull::Never).memory_limit_bytes(MEMORY);
    match std::env::var("ABYME_DOCKER_IMAGE") {
        Ok(image) if !image.is_empty() => docker.image(image),
        _ => docker,
    }
}

#[cfg(feature = "pyo3")]
fn pyo3() -> Result<Arc<dyn InterpreterFactory>, String> {
    Ok(Arc::new(abyme::Pyo3::new()))
}

#[cfg(not(feature = "pyo3"))]
fn pyo3() -> Result<Arc<dyn InterpreterFactory>, String> {
    // `cargo xtask bench` says why it built this so.
    let reason =
        std::env::var("ABYME_BENCH_NO_PYO3").unwrap_or_else(|_| "the feature `pyo3` is off".to_owned());
    Err(format!("this was built without it: {reason}"))
}

/// Starts a session and runs a cell in it. Returns the Python that ran it.
async fn try_out(factory: &dyn InterpreterFactory) -> Result<String, String> {
    let tried = tokio::time::timeout(FIRST_CELL_TIMEOUT, async {
        let interpreter = factory.create().await.map_err(|error| error.to_string())?;
        let mut session = Session::new(interpreter);
        let code = "import platform; print(platform.python_version())";
        let observation = session.run_code(code).await.map_err(|error| error.to_string())?;
        let version = observation.stdout.to_string().trim().to_owned();
        match observation.error {
            Some(error) => Err(format!("its first cell failed: {error}")),
            None if version.is_empty() => Err("its first cell printed nothing".to_owned()),
            None => Ok(format!("Python {version}")),
        }
    });
    tried
        .await
        .unwrap_or_else(|_| Err(format!("its first cell took over {} s", FIRST_CELL_TIMEOUT.as_secs())))
}
