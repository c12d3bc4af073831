//! What a backend declares about its sessions: what they can do, and what they keep code from doing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};

/// What stands between the code in a session and the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Isolation {
    /// Nothing: the code runs in the host's own process.
    None,
    /// A process of its own, on the host's kernel, as the host's user.
    Process,
    /// A container.
    Container,
    /// A WebAssembly sandbox without any kernel interface.
    Wasm,
    /// Another machine: what is declared open there is open as far as that machine goes.
    Machine,
}

/// How far code in a session reaches a resource of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Access {
    /// Not at all.
    Denied,
    /// Only what was named in the configuration.
    AllowList,
    /// As far as the host's user reaches.
    Open,
}

/// What holds of a session whatever the code in it does, and by what: [`Capabilities::guarantees`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Guarantee {
    /// The memory of no process of the host can be read or written.
    OwnAddressSpace,
    /// No file can be opened but those that were named.
    FilesystemAllowlist,
    /// No owner, mode, time or attribute of a file of the host can be changed.
    FilesystemReadonlyMetadata,
    /// The temporary directory is the session's own, and is gone after it.
    PrivateTmp,
    /// What all files of the session take together is bounded.
    DiskCapped,
    /// No connection, datagram or listener reaches the network, the host's own addresses included.
    NoNetwork,
    /// No unix socket of the host can be reached.
    NoUnixSockets,
    /// The memory of the session is bounded.
    MemoryCapped,
    /// Its processor time is bounded.
    CpuCapped,
    /// The number of its processes is bounded.
    ProcessCapped,
    /// A cell ends at its time limit and its grace, with its session if need be.
    WallCapped,
    /// It sees the environment variables that were named, and no others of the host's.
    CleanEnvironment,
    /// All its processes end with it and with the host, however these end.
    KilledWithHost,
    /// No program can give it rights that the host's user has not given.
    NoNewPrivileges,
    /// System calls that such code has no use for are refused.
    ReducedKernelSurface,
    /// It starts no other program.
    NoExec,
}

impl std::fmt::Display for Guarantee {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}

/// What a backend's sessions can do, and what they keep code from doing. The declarations are tested (C14);
/// [`Session`](super::Session) refuses what is not declared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Capabilities {
    /// What stands between the code and the host.
    pub isolation: Isolation,
    /// Whether code can open network connections.
    pub network: Access,
    /// Whether code can read and write the host's files.
    pub host_files: Access,
    /// Whether code sees the host's environment variables.
    pub environment: Access,
    /// Whether code can start other processes.
    pub processes: Access,
    /// Most memory a session may take, in bytes, where it is limited.
    pub memory_limit_bytes: Option<u64>,
    /// Whether a cell over its time limit can be interrupted with its state kept.
    pub interrupt: bool,
    /// Whether a session outlives its own crash: `os._exit` and a segfault end the session, never the host.
    pub crash_isolated: bool,
    /// Whether a session whose cell crashed or had to be killed comes back as it was before that cell,
    /// instead of ending; see [`Observation::restored`](super::Observation::restored). A backend may do that
    /// only up to some size.
    #[serde(default)]
    pub restores: bool,
    /// Whether Python threads run.
    pub threads: bool,
    /// Whether host calls made through `ThreadPoolExecutor`, `threading.Thread` and `asyncio` are in flight
    /// at the same time. True for every backend with real threads; one without may still have it.
    #[serde(default)]
    pub concurrent_calls: bool,
    /// Whether a live session can be copied with [`CodeInterpreter::fork`](super::CodeInterpreter::fork).
    #[serde(default)]
    pub fork: bool,
    /// Whether a session can be saved to bytes with
    /// [`CodeInterpreter::snapshot`](super::CodeInterpreter::snapshot) and restored, in this process or
    /// another.
    #[serde(default)]
    pub snapshot: bool,
    /// Whether sessions keep a [`Determinism`](super::Determinism): the same cells, with the same answers to
    /// their host calls, find the same time, random bytes and order of sets.
    #[serde(default)]
    pub deterministic: bool,
    /// Whether packages with native code (numpy, pandas) can be imported where they are installed.
    pub native_packages: bool,
    /// What the sessions hold to whatever their code does, each with what it is held by. It says more of the
    /// declarations above where that depends on the machine, as with `subprocess`; an empty one says nothing.
    #[serde(default)]
    pub guarantees: BTreeMap<Guarantee, String>,
    /// What the model should know about this backend, as sentences for its prompt.
    pub notes: Vec<String>,
}

impl Capabilities {
    /// The weakest declaration for `isolation`: everything is open and no capability is there. Backends add
    /// what they have.
    pub fn new(isolation: Isolation) -> Self {
        Self {
            isolation,
            network: Access::Open,
            host_files: Access::Open,
            environment: Access::Open,
            processes: Access::Open,
            memory_limit_bytes: None,
            interrupt: false,
            crash_isolated: false,
            restores: false,
            threads: false,
            concurrent_calls: false,
            fork: false,
            snapshot: false,
            deterministic: false,
            native_packages: false,
            guarantees: BTreeMap::new(),
            notes: Vec::new(),
        }
    }

    /// The error for a capability that the backend does not have, or has declared and not implemented. `what`
    /// completes "cannot be ...".
    pub fn refuse(&self, what: &str, capability: &str, declared: bool) -> Error {
        if declared {
            let message = format!(
                "this session cannot be {what}: its backend declares `{capability}` and does not implement \
                 it; a type that wraps another backend has to pass on every method of `CodeInterpreter` and \
                 `InterpreterFactory`"
            );
            return Error::new(ErrorKind::Unsupported, message);
        }
        let isolation = match self.isolation {
            Isolation::None => "without isolation",
            Isolation::Process => "in a process",
            Isolation::Container => "in a container",
            Isolation::Wasm => "in WebAssembly",
            Isolation::Machine => "on another machine",
        };
        Error::new(
            ErrorKind::Unsupported,
            format!(
                "a session {isolation} cannot be {what} here: its backend does not declare `{capability}`; \
                 use one that does, such as the wasm backend"
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guarantee_has_one_name() {
        let written = serde_json::to_value(Guarantee::NoUnixSockets).unwrap();
        assert_eq!(
            (written, Guarantee::NoExec.to_string()),
            ("no_unix_sockets".into(), "no_exec".to_owned())
        );
    }

    #[test]
    fn what_was_written_before_a_power_was_known_still_loads() {
        let mut json = serde_json::to_value(Capabilities::new(Isolation::Process)).unwrap();
        for power in ["restores", "concurrent_calls", "fork", "snapshot", "deterministic"] {
            assert_eq!(json.as_object_mut().unwrap().remove(power), Some(false.into()), "{power}");
        }
        let guarantees = json.as_object_mut().unwrap().remove("guarantees");
        assert_eq!(guarantees, Some(serde_json::json!({})));
        let loaded: Capabilities = serde_json::from_value(json).unwrap();
        assert_eq!(loaded, Capabilities::new(Isolation::Process));
    }
}
