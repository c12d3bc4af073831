//! The systems a user would otherwise pick, from PyPI, each in a virtual environment and driven through its public
//! interface. What they do is in `benches/peers/`.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::time::timeout;

use crate::scenario::Trial;

mod environment;
mod process;
#[cfg(test)]
mod tests;

use process::Process;

/// How long a peer may take to run a cell for the first time. Deno fetches Pyodide then.
const FIRST_CELL: Duration = Duration::from_secs(180);

/// A peer as it is known, before anybody looked whether it works here.
struct Known {
    /// As tables call it.
    name: &'static str,
    /// Its virtual environment under `target/bench/peers/`, which it may share.
    environment: &'static str,
    /// What is installed there, one file after the other.
    requirements: &'static [&'static str],
    /// What is run there.
    script: &'static str,
    /// The oldest minor version of Python 3 that it is published for.
    python: u32,
}

const KNOWN: &[Known] = &[
    Known {
        name: "DSPy LocalInterpreter",
        environment: "dspy",
        requirements: &["requirements-dspy.txt"],
        script: "dspy_local.py",
        python: 10,
    },
    Known {
        name: "DSPy PythonInterpreter",
        environment: "dspy",
        requirements: &["requirements-dspy.txt", "requirements-deno.txt"],
        script: "dspy_deno.py",
        python: 10,
    },
    Known {
        name: "rlms LocalREPL",
        environment: "rlms",
        requirements: &["requirements-rlms.txt"],
        script: "rlms_local.py",
        python: 11,
    },
    Known {
        name: "pyeryx",
        environment: "pyeryx",
        requirements: &["requirements-pyeryx.txt"],
        script: "eryx_session.py",
        python: 12,
    },
];

/// A peer that was found and started.
#[derive(Clone, Debug)]
pub(crate) struct Peer(Arc<Found>);

#[derive(Debug)]
struct Found {
    name: String,
    version: String,
    /// The program that runs the script: Python of the virtual environment.
    program: PathBuf,
    script: PathBuf,
    /// Where peers keep what they fetch.
    home: PathBuf,
}

/// All peers, installed and tried out, or the name of one and why it is not here. One after the other, because two
/// share an environment.
pub(crate) async fn start() -> Vec<Result<Peer, (String, String)>> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut peers = Vec::new();
    for known in KNOWN {
        peers.push(known.start(manifest).await.map_err(|reason| (known.name.to_owned(), reason)));
    }
    peers
}

impl Known {
    /// `manifest` is the directory of this package.
    async fn start(&self, manifest: &Path) -> Result<Peer, String> {
        let home = manifest.parent().unwrap_or(manifest).join("target/bench/peers");
        let program = environment::ready(self, manifest, &home).await?;
        let script = manifest.join("peers").join(self.script);
        let name = self.name.to_owned();
        let mut found = Found { name, version: String::new(), program, script, home };
        found.version = match timeout(FIRST_CELL, try_out(&found)).await {
            Ok(version) => version?,
            Err(_) => return Err(format!("it ran no cell in {} s", FIRST_CELL.as_secs())),
        };
        Ok(Peer(Arc::new(found)))
    }
}

/// Runs a cell, and answers the peer's version.
async fn try_out(found: &Found) -> Result<String, String> {
    let (mut process, version) = Process::start(found).await?;
    if process.prepare("cell", None).await? {
        process.sample().await?;
    }
    Ok(version)
}

impl Peer {
    /// As tables call it.
    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    /// Versions of the peer and of the Python it runs in.
    pub(crate) fn version(&self) -> &str {
        &self.0.version
    }

    /// A process of its own that is ready for the scenario. None: the peer has no such thing.
    ///
    /// # Errors
    /// What the peer failed with.
    pub(crate) async fn trial(
        &self,
        scenario: &str,
        at: Option<u64>,
    ) -> Result<Option<Box<dyn Trial>>, String> {
        let (mut process, _) = Process::start(&self.0).await?;
        Ok(if process.prepare(scenario, at).await? { Some(Box::new(process)) } else { None })
    }
}
