//! How Python is started, and how long it may take.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

/// How Python is started in this process, and how long it may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Pyo3Config {
    /// A virtual environment whose packages cells can import, made by a Python of the version this program is linked
    /// to. Python starts once per process, so all factories that name one must name the same. Default none: what Python
    /// runs with already, else the packages of the linked Python itself.
    pub venv: Option<PathBuf>,
    /// How long a session may take to get ready. Default 10 s.
    #[serde(with = "abyme_core::seconds")]
    pub start_timeout: Duration,
    /// How long a cell may go on after its time limit, before its session is given up: it is interrupted at once and
    /// half-way. Default 1.5 s, within the 2 s of contract clause C10.
    #[serde(with = "abyme_core::seconds")]
    pub grace: Duration,
}

impl Default for Pyo3Config {
    fn default() -> Self {
        Self { venv: None, start_timeout: Duration::from_secs(10), grace: Duration::from_millis(1500) }
    }
}

impl Pyo3Config {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the virtual environment.
    pub fn venv(mut self, directory: impl Into<PathBuf>) -> Self {
        self.venv = Some(directory.into());
        self
    }

    /// Sets how long a session may take to get ready.
    pub fn start_timeout(mut self, limit: Duration) -> Self {
        self.start_timeout = limit;
        self
    }

    /// Sets how long a cell may go on after its time limit.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_pinned() {
        let config = Pyo3Config::default();
        assert_eq!(config.venv, None);
        assert_eq!(
            (config.start_timeout, config.grace),
            (Duration::from_secs(10), Duration::from_millis(1500))
        );
    }
}
