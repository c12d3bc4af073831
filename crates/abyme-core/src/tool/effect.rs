//! What the calls of a tool do outside of their run.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a call of a [`Tool`](crate::Tool) does outside of its run.
///
/// | effect | a call | [approval](crate::RlmBuilder::approve_tools) | is made again by a resumed run |
/// |---|---|---|---|
/// | `Read` | looks at something outside, such as a file | is not asked for | yes |
/// | `Write` | changes something outside, such as an order | is waited for | not without asking |
/// | `Network` | sends something to others, such as a search engine | is waited for | yes |
///
/// A tool may have several: one that sends mails writes and uses the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Effect {
    /// It looks at something outside.
    Read,
    /// It changes something outside: no call is ever made twice without asking.
    Write,
    /// It sends something to others.
    Network,
}

impl Effect {
    /// Whether a call waits for approval, where somebody gives it.
    pub fn needs_approval(self) -> bool {
        matches!(self, Self::Write | Self::Network)
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "reads",
            Self::Write => "changes something",
            Self::Network => "sends something to others",
        })
    }
}
