//! The configuration of the backend: the part of [`Pyo3`](crate::Pyo3) that is plain data.

use std::{path::PathBuf, time::Duration};

use abyme_core::DecodeBudget;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Config {
    pub(crate) venv: Option<PathBuf>,
    #[serde(with = "abyme_core::seconds")]
    pub(crate) start_timeout: Duration,
    pub(crate) max_message_bytes: u64,
    #[serde(with = "abyme_core::seconds")]
    pub(crate) interrupt_grace: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            venv: None,
            start_timeout: Duration::from_secs(10),
            max_message_bytes: DecodeBudget::DEFAULT_MAX_BYTES,
            interrupt_grace: Duration::from_millis(1500),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_pinned() {
        let config = Config::default();
        assert_eq!(config.max_message_bytes, 256 << 20);
        assert_eq!(config.venv, None);
        assert_eq!(
            (config.start_timeout, config.interrupt_grace),
            (Duration::from_secs(10), Duration::from_millis(1500))
        );
    }
}
