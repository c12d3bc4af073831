//! Other systems and processors than this one: what depends on them is checked by the compiler, and not run.

use std::{path::PathBuf, process::Command};

use crate::{
    command::{self, Result, cargo, root},
    selection::FACADE,
};

/// What is checked: on each of them other parts of these are compiled.
const TARGETS: [&str; 3] = ["aarch64-unknown-linux-gnu", "aarch64-apple-darwin", "x86_64-pc-windows-msvc"];
const PACKAGES: [&str; 4] = ["abyme-core", "abyme-driver", "abyme-interpreter-subprocess", FACADE];

/// What `ABYME_REQUIRE` names to make a target that cannot be had an error.
const NAME: &str = "targets";

/// A compiler and an archiver for the C and assembler of dependencies that make what they are to make, and
/// nothing in it. A check links nothing.
const NO_COMPILER: &str = r#"#!/bin/sh
for argument; do
    case "$previous $argument" in
        *" -Fo"*) : > "${argument#-Fo}" ;;
        *" -out:"*) : > "${argument#-out:}" ;;
        "-o "* | *" "*.a | *" "*.lib) : > "$argument" ;;
    esac
    previous=$argument
done
"#;

pub(crate) fn check() -> Result<()> {
    let compiler = no_compiler()?;
    for target in TARGETS {
        if let Err(reason) = install(target) {
            let reason = command::unless_required(NAME, reason)?;
            eprintln!("xtask: ignored: the check for {target}, because {reason}");
            continue;
        }
        let mut check = cargo(&["check", "--locked", "--target", target, "--no-default-features"]);
        check.args(["--features", "abyme/subprocess"]);
        for package in PACKAGES {
            check.args(["--package", package]);
        }
        let variable = target.replace('-', "_");
        for tool in ["CC", "AR"] {
            check.env(format!("{tool}_{variable}"), &compiler);
        }
        command::run(check.env("RUSTFLAGS", "-D warnings"))?;
    }
    Ok(())
}

/// Has the standard library of a target be there.
fn install(target: &str) -> Result<()> {
    let find = ["--print", "target-libdir", "--target", target];
    let library = command::output(Command::new("rustc").args(find).current_dir(root()))?;
    if PathBuf::from(library.trim()).is_dir() {
        return Ok(());
    }
    eprintln!("xtask: installing the standard library of {target}");
    command::output(Command::new("rustup").args(["target", "add", target]).current_dir(root()))
        .map(drop)
        .map_err(|problem| format!("its standard library is not there and cannot be installed: {problem}"))
}

#[cfg(unix)]
fn no_compiler() -> Result<PathBuf> {
    use std::{fs, os::unix::fs::PermissionsExt};

    let path = root().join("target/tools/no-compiler");
    let write = || {
        fs::create_dir_all(root().join("target/tools"))?;
        fs::write(&path, NO_COMPILER)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
    };
    write().map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
    Ok(path)
}

#[cfg(not(unix))]
fn no_compiler() -> Result<PathBuf> {
    Err("targets are checked on Unix".to_owned())
}
