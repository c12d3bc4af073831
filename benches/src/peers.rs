//! The systems a user would otherwise pick, from PyPI, each in a virtual environment and driven through its
//! public interface. What they do is in `benches/peers/`.

use std::{path::Path, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::trial::Trial;

mod environment;
mod process;
mod spec;
#[cfg(test)]
mod tests;

use self::{
    process::Process,
    spec::{InstalledPeer, PEERS, PeerSpec},
};

/// How long a peer may take to run a cell for the first time. Deno fetches Pyodide then.
const FIRST_CELL_TIMEOUT: Duration = Duration::from_secs(180);

/// A peer that was installed and tried out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Peer(Arc<InstalledPeer>);

/// All peers, installed and tried out, or the name of one and why it is not here. One after the other,
/// because two share an environment.
pub(crate) async fn start() -> Vec<Result<Peer, (String, String)>> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut peers = Vec::new();
    for spec in PEERS {
        peers.push(Peer::start(spec, manifest).await.map_err(|reason| (spec.name.to_owned(), reason)));
    }
    peers
}

impl Peer {
    /// Installs and tries out a peer. `manifest` is the directory of this package.
    async fn start(spec: &PeerSpec, manifest: &Path) -> Result<Peer, String> {
        let home = manifest.parent().unwrap_or(manifest).join("target/bench/peers");
        let program = environment::ready(spec, manifest, &home).await?;
        let script = manifest.join("peers").join(spec.script);
        let name = spec.name.to_owned();
        let mut installed = InstalledPeer { name, version: String::new(), program, script, home };
        installed.version = match timeout(FIRST_CELL_TIMEOUT, try_out(&installed)).await {
            Ok(version) => version?,
            Err(_) => return Err(format!("it ran no cell in {} s", FIRST_CELL_TIMEOUT.as_secs())),
        };
        Ok(Peer(Arc::new(installed)))
    }
}

/// Runs a cell, and returns the peer's version.
async fn try_out(installed: &InstalledPeer) -> Result<String, String> {
    let (mut process, version) = Process::start(installed).await?;
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
