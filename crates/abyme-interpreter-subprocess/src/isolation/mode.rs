//! How much of the isolation has to be there.

use serde::{Deserialize, Serialize};

/// What a session does about a mechanism of its isolation that this machine does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum IsolationMode {
    /// It does not start, and says which mechanism is missing and what to do. The default on Linux.
    Required,
    /// It starts with those that are there. `Capabilities::guarantees` says what they hold.
    BestEffort,
    /// It applies none: code in the session has the rights of the host's user. The default where there is
    /// nothing to apply, which is everywhere but on Linux.
    Off,
}

impl Default for IsolationMode {
    fn default() -> Self {
        if cfg!(target_os = "linux") { Self::Required } else { Self::Off }
    }
}
