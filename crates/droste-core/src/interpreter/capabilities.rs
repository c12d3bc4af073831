//! What a backend declares of itself: its powers and its walls.

use serde::{Deserialize, Serialize};

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
}

/// How far code in a session reaches something of the host.
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

/// Powers and walls of a backend. What is declared here is tested (C14); [`Session`](super::Session) refuses what is
/// not declared.
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
    pub memory_limit: Option<u64>,
    /// Whether a cell over its time limit can be interrupted with its state kept.
    pub interrupt: bool,
    /// Whether a session outlives its own crash: `os._exit` and a segfault end the session, never the host.
    pub crash_isolated: bool,
    /// Whether Python threads run.
    pub threads: bool,
    /// Whether packages with native code (numpy, pandas) can be imported where they are installed.
    pub native_packages: bool,
    /// What the model should know about this backend, as sentences for its prompt.
    pub notes: Vec<String>,
}

impl Capabilities {
    /// The weakest declaration for `isolation`: everything open, no powers. Backends state what they have on top.
    pub fn new(isolation: Isolation) -> Self {
        Self {
            isolation,
            network: Access::Open,
            host_files: Access::Open,
            environment: Access::Open,
            processes: Access::Open,
            memory_limit: None,
            interrupt: false,
            crash_isolated: false,
            threads: false,
            native_packages: false,
            notes: Vec::new(),
        }
    }
}
