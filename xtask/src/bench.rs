//! `cargo xtask bench`: how fast everything is, built as users build it.

use std::process::ExitCode;

use crate::{
    command::{Result, cargo, show},
    selection,
};

/// What to measure: `cargo xtask bench --help` lists it.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Passed on to the benchmarks.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Answers the exit code of the benchmarks: 0, 1 if something failed while it was measured, 2 for bad
/// arguments.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let mut command = cargo(&["run", "--release", "--locked", "--package", "abyme-benches"]);
    match selection::no_libpython()? {
        None => command.args(["--features", "pyo3"]),
        // The benchmarks say it where the results of pyo3 would be.
        Some(reason) => command.env("ABYME_BENCH_NO_PYO3", reason),
    };
    command.arg("--").args(&args.arguments);
    let shown = show(&command);
    eprintln!("$ {shown}");
    let status = command.status().map_err(|error| format!("`{shown}` cannot be started: {error}"))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.map(ExitCode::from).ok_or_else(|| format!("`{shown}` failed ({status})"))
}
