//! The interpreters this command was built with, by name.

use std::{path::PathBuf, sync::Arc};

use droste::{InterpreterFactory, SubprocessConfig, SubprocessFactory};

use crate::exit::Failure;

/// What sessions of any backend are made with, as far as the backend knows it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) python: Option<PathBuf>,
    /// Bytes a session may take.
    pub(crate) memory: Option<u64>,
    /// Bytes a file of a session may have.
    pub(crate) disk: Option<u64>,
}

/// The backends compiled in; the first is the default.
pub(crate) const COMPILED: [&str; 1] = ["subprocess"];

/// Backends of later versions, and what they are for.
pub(crate) const LATER: [(&str, &str); 3] = [
    ("wasm", "untrusted code, no Python needed"),
    ("docker", "any image, hard limits"),
    ("pyo3", "trusted code in this process"),
];

/// Makes a factory by its backend's name.
pub(crate) fn factory(name: &str, settings: &Settings) -> Result<Arc<dyn InterpreterFactory>, Failure> {
    match name {
        "subprocess" => Ok(Arc::new(SubprocessFactory::new(subprocess(settings)))),
        _ => {
            let later = LATER.iter().any(|(later, _)| *later == name);
            let what = if later { "is not in this version" } else { "is no interpreter" };
            Err(Failure::usage(format!("`{name}` {what}; this `droste` has: {}", COMPILED.join(", "))))
        }
    }
}

fn subprocess(settings: &Settings) -> SubprocessConfig {
    let mut config = SubprocessConfig::new();
    if let Some(python) = &settings.python {
        config = config.python(python);
    }
    if let Some(bytes) = settings.memory {
        config = config.memory_limit(bytes);
    }
    if let Some(bytes) = settings.disk {
        config = config.file_size_limit(bytes);
    }
    config
}
