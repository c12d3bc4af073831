//! The interpreters this command was built with, by name.

use std::{path::PathBuf, sync::Arc};

use droste::{InterpreterFactory, SubprocessConfig, SubprocessFactory, WasmConfig, WasmFactory};

use crate::{exit::Failure, terminal};

/// What sessions of any backend are made with, as far as the backend knows it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) python: Option<PathBuf>,
    /// Bytes a session may take.
    pub(crate) memory: Option<u64>,
    /// Bytes of a session's files: of one, or of all together, as the backend counts them.
    pub(crate) disk: Option<u64>,
}

/// The backends compiled in; the first is the default.
pub(crate) const COMPILED: [&str; 2] = ["wasm", "subprocess"];

/// Backends of later versions, and what they are for.
pub(crate) const LATER: [(&str, &str); 2] =
    [("docker", "any image, hard limits"), ("pyo3", "trusted code in this process")];

/// Bytes of memory that a session needs in which Python holds `text` bytes, and for a moment what they are made from.
pub(crate) fn memory_for(name: &str, text: u64) -> u64 {
    const ALL_OF_32_BITS: u64 = 4 << 30;
    match name {
        "wasm" => (512 << 20).max((256 << 20) + 3 * text).min(ALL_OF_32_BITS),
        _ => (4 << 30) + 3 * text,
    }
}

/// Makes a factory by its backend's name.
pub(crate) fn factory(name: &str, settings: &Settings) -> Result<Arc<dyn InterpreterFactory>, Failure> {
    if let ("wasm", Some(python)) = (name, &settings.python) {
        return Err(Failure::usage(format!(
            "--python {} is for the `subprocess` interpreter, and this is `wasm`, which brings its own Python; \
             choose `subprocess`, or leave --python out",
            python.display()
        )));
    }
    match name {
        "wasm" => Ok(Arc::new(wasm(settings))),
        "subprocess" => Ok(Arc::new(SubprocessFactory::new(subprocess(settings)))),
        _ => {
            let later = LATER.iter().any(|(later, _)| *later == name);
            let what = if later { "is not in this version" } else { "is no interpreter" };
            Err(Failure::usage(format!("`{name}` {what}; this `droste` has: {}", COMPILED.join(", "))))
        }
    }
}

/// The `wasm` backend, which says on stderr what it does while it prepares Python for this machine.
pub(crate) fn wasm(settings: &Settings) -> WasmFactory {
    // One run needs one session, and each place reserves addresses, which may be limited (`ulimit -v`).
    let mut config = WasmConfig::new().max_sessions(4);
    if let Some(bytes) = settings.memory {
        config = config.memory_limit(bytes);
    }
    if let Some(bytes) = settings.disk {
        config = config.disk_limit(bytes);
    }
    WasmFactory::reporting(config, |progress| terminal::say(&format!("droste: {progress}")))
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
