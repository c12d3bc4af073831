//! The `abyme` command.

mod args;
mod backend;
mod demo;
mod doctor;
mod exit;
mod interpreter;
mod json;
mod models;
mod progress;
mod run;
mod signals;
mod standard;
mod terminal;
mod warm;

use std::{process::ExitCode, time::Duration};

use crate::{
    args::Command,
    exit::{Exit, Failure},
};

/// How long what still runs in the background may take at the end.
const PATIENCE: Duration = Duration::from_millis(300);

fn main() -> ExitCode {
    let ended = args::parse().and_then(|command| {
        terminal::start_log();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| Failure::new(Exit::Failed, format!("cannot start: {error}")))?;
        let ended = runtime.block_on(perform(command));
        runtime.shutdown_timeout(PATIENCE);
        ended
    });
    match ended {
        Ok(exit) => exit,
        Err(failure) => {
            failure.show();
            failure.exit()
        }
    }
    .into()
}

async fn perform(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Run(args) => Box::pin(run::run(*args)).await,
        Command::Demo(args) => Box::pin(demo::run(args)).await,
        Command::Interpreter(args) => Box::pin(interpreter::run(args)).await,
        Command::Doctor(args) => Box::pin(doctor::run(args)).await,
        Command::Warm => Box::pin(warm::run()).await,
    }
}
