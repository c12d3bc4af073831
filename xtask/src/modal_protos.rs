//! `cargo xtask modal-protos`: compares what the Modal backend's client knows of Modal's interface with the
//! newest wheel of Modal's own client.

use std::process::Command;

use crate::command::{self, Result, root};

/// Installs the newest wheel into an environment of its own, and compares.
pub(crate) fn run() -> Result<()> {
    let environment = root().join("target/venvs/modal-newest");
    let python = environment.join("bin/python");
    if !python.exists() {
        command::run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
    }
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade", "modal"];
    command::run(Command::new(&python).args(install))?;
    let sources = root().join("crates/abyme-interpreter-modal/src/api");
    let compare = ["-I", "-c", include_str!("modal_protos.py")];
    let said = command::output(Command::new(&python).args(compare).arg(sources))?;
    eprintln!("{}", said.trim_end());
    Ok(())
}
