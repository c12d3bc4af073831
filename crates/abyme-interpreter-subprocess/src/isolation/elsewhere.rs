//! The isolation of systems that have none: it can be switched off, and nothing else.

use std::path::{Path, PathBuf};

use abyme_core::{Capabilities, Error, ErrorKind, Guarantee, Result};

use super::{
    entry::{Entry, Watch},
    limits::Limits,
    mode::IsolationMode,
};
use crate::config::Config;

/// What is applied to the sessions of a factory.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    mode: IsolationMode,
}

/// A plan with what was computed for it.
#[derive(Debug)]
pub(crate) struct Prepared {
    limits: Limits,
}

impl Plan {
    pub(crate) fn of(config: &Config) -> Self {
        Self { mode: config.isolation }
    }

    /// # Errors
    /// [`ErrorKind::Unavailable`] if isolation is required.
    pub(crate) fn prepare(&self, config: &Config, _python: &[PathBuf]) -> Result<Prepared> {
        if self.mode == IsolationMode::Required {
            let message = "a session cannot be isolated here, because that needs Linux: start sessions \
                           without (`.isolation(IsolationMode::Off)`, `--isolation off`), or use the wasm \
                           or docker backend";
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        Ok(Prepared { limits: Limits::of(config) })
    }

    pub(crate) fn declare(&self, _config: &Config, capabilities: &mut Capabilities) {
        capabilities.guarantees.insert(Guarantee::WallCapped, "the host's clock".to_owned());
    }
}

impl Prepared {
    pub(crate) fn own_work_dir(&self) -> Option<&'static Path> {
        None
    }

    pub(crate) fn driver_arguments(&self) -> Option<&str> {
        None
    }

    #[allow(clippy::unnecessary_wraps, reason = "on Linux there are errors")]
    pub(crate) fn entry(&self, _work_dir: &Path) -> Result<(Entry, Option<Watch>)> {
        Ok((Entry::Open { limits: self.limits.clone(), host: std::process::id() }, None))
    }
}
