//! The workspace's own commands. Run them with `cargo xtask <command>`.

mod bench;
mod cgroup_vm;
mod ci;
mod command;
mod docker_test_env;
mod fix;
mod modal_protos;
mod pictures;
mod prices;
mod python_wasm;
mod selection;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The workspace's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure how fast everything is, beside its peers. Takes arguments of its own: try `bench --help`.
    Bench(bench::Args),
    /// Run the tests of control groups of version 2 in a virtual machine.
    CgroupVm(cgroup_vm::Args),
    /// Check all but the tests, and change no source: format, lints, fuzz, docs, packages, tidy and more.
    Ci,
    /// Start or stop a Docker engine of its own for the tests.
    #[command(subcommand)]
    DockerTestEnv(docker_test_env::Action),
    /// Repair what can be repaired by a tool: format and lints.
    Fix,
    /// Compare the Modal backend's messages with those in the newest wheel of Modal's own client.
    ModalProtos,
    /// Draw the README's pictures anew, from a run of the demo. Needs Chromium, and PyPI.
    Pictures,
    /// Make the table of prices in abyme-core from LiteLLM's.
    Prices(prices::Args),
    /// Build the data of the crate abyme-python-wasm: CPython for WASI with its standard library.
    PythonWasm(python_wasm::Args),
    /// Run all tests: Rust, doc examples, Python.
    Test(test::Args),
    /// Check the workspace's own rules: layers, circles of files, retired words, statics, headers, lines.
    Tidy(tidy::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        // Its exit code is the benchmarks' own.
        Command::Bench(args) => return finish(bench::run(&args)),
        Command::CgroupVm(args) => cgroup_vm::run_tests(&args),
        Command::Ci => ci::run(),
        Command::DockerTestEnv(action) => docker_test_env::run(&action),
        Command::Fix => fix::run(),
        Command::ModalProtos => modal_protos::run(),
        Command::Pictures => pictures::run(),
        Command::Prices(args) => prices::run(&args),
        Command::PythonWasm(args) => python_wasm::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Tidy(args) => tidy::run(&args),
    };
    finish(result.map(|()| ExitCode::SUCCESS))
}

fn finish(result: command::Result<ExitCode>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(problem) => {
            eprintln!("xtask: {problem}");
            ExitCode::FAILURE
        }
    }
}
