//! `cargo xtask test`: all tests of the workspace.

use std::{
    collections::BTreeSet,
    num::NonZero,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use crate::{
    command::{self, Result, cargo, exists, root},
    selection,
};

/// What to test.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this package's Rust tests.
    #[arg(long, short)]
    package: Option<String>,
    /// Only build the Rust tests.
    #[arg(long)]
    no_run: bool,
    /// Passed on to the test runner, such as a part of a test's name.
    #[arg(last = true)]
    filter: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let what = selection::everything(args.package.as_deref())?;
    // nextest runs each test in a process of its own and in parallel; without it cargo's own runner does.
    let is_nextest = exists("cargo", &["nextest", "--version"]);
    let runner: &[&str] =
        if is_nextest { &["nextest", "run"] } else { &["test", "--lib", "--bins", "--tests"] };
    let tests = |filter: &[String]| -> Command {
        let mut command = cargo(runner);
        command.args(&what);
        if is_nextest {
            command.args(["--test-threads", &tests_at_a_time().to_string()]);
        }
        command.arg("--").args(filter);
        command
    };
    if args.no_run {
        return command::run(cargo(runner).args(&what).arg("--no-run"));
    }
    let is_all = args.package.is_none() && args.filter.is_empty();
    if is_all {
        // The first use on a machine prepares the embedded Python, in some seconds. One test does that before
        // many wait for it at once, each within its own time limit.
        command::run(&mut tests(&["the_standard_library_is_there".to_owned()]))?;
    }
    let ignored = root().join("target/ignored-tests.txt");
    let _ = std::fs::remove_file(&ignored);
    let outcome = command::run(tests(&args.filter).env("ABYME_IGNORED", &ignored));
    for line in lines_once(&ignored) {
        eprintln!("xtask: ignored: the tests of {line}");
    }
    outcome?;
    if is_all {
        command::run(cargo(&["test", "--doc"]).args(&what))?;
        python()?;
    }
    Ok(())
}

/// Half as many again as there are cores: many tests wait for a time limit, a container or a server.
fn tests_at_a_time() -> usize {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    cores + cores.div_ceil(2)
}

/// The lines of a file that may not be there, each once.
fn lines_once(file: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// The Python sources have tests of their own: the driver's for any Python, the rest for the one that is
/// embedded.
fn python() -> Result<()> {
    let embedded = python_3_13();
    if embedded.is_none() {
        eprintln!(
            "xtask: there is no Python 3.13 here, so the tests of the wasm backend's Python skip themselves"
        );
    }
    let embedded = embedded.unwrap_or_else(|| PathBuf::from("python3"));
    for (python, tests) in [
        (PathBuf::from("python3"), "crates/abyme-driver/python/tests"),
        (PathBuf::from("python3"), "crates/abyme-interpreter-pyo3/python/tests"),
        (PathBuf::from("python3"), "examples/third-party-backend/tests"),
        (embedded, "crates/abyme-interpreter-wasm/python/tests"),
    ] {
        let mut command = Command::new(python);
        command::run(command.args(["-m", "unittest", "discover", "-s", tests]).current_dir(root()))?;
    }
    Ok(())
}

/// A Python of the embedded version: on `PATH`, or one that pyenv keeps.
fn python_3_13() -> Option<PathBuf> {
    const NAME: &str = "python3.13";
    if exists(NAME, &["-c", ""]) {
        return Some(NAME.into());
    }
    let versions = PathBuf::from(std::env::var_os("HOME")?).join(".pyenv/versions");
    let mut found: Vec<_> = std::fs::read_dir(versions).ok()?.flatten().map(|entry| entry.path()).collect();
    found.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("3.13.")));
    found.sort();
    found.pop().map(|path| path.join("bin").join(NAME)).filter(|python| python.exists())
}
