//! `cargo xtask test`: all tests of the workspace.

use std::process::Command;

use crate::command::{self, Result, cargo, exists, root};

/// What to test.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this package's Rust tests.
    #[arg(long, short)]
    package: Option<String>,
    /// Passed on to the test runner, such as a part of a test's name.
    #[arg(last = true)]
    filter: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let what = match &args.package {
        Some(package) => vec!["--package", package],
        None => vec!["--workspace"],
    };
    // nextest runs each test in a process of its own and in parallel; without it cargo's own runner does.
    let runner: &[&str] =
        if exists("cargo", &["nextest", "--version"]) { &["nextest", "run"] } else { &["test"] };
    let targets: &[&str] = if runner == ["test"] { &["--lib", "--bins", "--tests"] } else { &[] };
    let tests = |command: &mut Command| {
        command.args(&what).args(targets).args(["--all-features", "--locked", "--"]).args(&args.filter);
    };
    let mut rust = cargo(runner);
    tests(&mut rust);
    command::run(&mut rust)?;
    if args.package.is_none() && args.filter.is_empty() {
        command::run(&mut cargo(&["test", "--workspace", "--doc", "--all-features", "--locked"]))?;
        python()?;
    }
    Ok(())
}

/// The Python sources have tests of their own.
fn python() -> Result<()> {
    let tests = "crates/droste-wire/python/tests";
    let mut command = Command::new("python3");
    command::run(command.args(["-m", "unittest", "discover", "-s", tests]).current_dir(root()))
}
