//! The `abyme` command.

mod approval;
mod args;
mod ask;
mod backend;
mod chat;
mod demo;
mod doctor;
mod eval;
mod exit;
mod files;
mod inputs;
mod interpreter;
mod json;
mod keys;
#[cfg(feature = "mcp-server")]
mod mcp;
mod models;
mod output;
mod prepare;
mod progress;
mod recorded;
mod rlm;
mod run;
mod running;
#[cfg(feature = "serve")]
mod serve;
mod signals;
mod standard;
mod stats;
mod terminal;
#[cfg(any(feature = "mcp-server", feature = "serve"))]
mod token;
mod view;

use std::{process::ExitCode, time::Duration};

use crate::{
    args::Command,
    exit::{Exit, Failure},
    standard::Standard,
};

/// How long background tasks may take to end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(300);

fn main() -> ExitCode {
    let ended = args::parse().and_then(|command| {
        terminal::start_log();
        let standard = standard()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| Failure::new(Exit::Failed, format!("cannot start: {error}")))?;
        let ended = runtime.block_on(perform(command, &standard));
        runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
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

/// stdin and stdout, out of the reach of cells, where these can run in this process.
fn standard() -> Result<Standard, Failure> {
    #[cfg(feature = "pyo3")]
    return Standard::moved();
    #[cfg(not(feature = "pyo3"))]
    Ok(Standard::default())
}

async fn perform(command: Command, standard: &Standard) -> Result<Exit, Failure> {
    match command {
        Command::Ask(args) => Box::pin(ask::run(*args, standard)).await,
        Command::Run(args) => Box::pin(run::run(*args, standard)).await,
        Command::Resume(args) => Box::pin(recorded::resume(*args, standard)).await,
        Command::Replay(args) => Box::pin(recorded::replay(*args, standard)).await,
        Command::Fork(args) => Box::pin(recorded::fork(*args, standard)).await,
        Command::Chat(args) => Box::pin(chat::run(*args, standard)).await,
        Command::Demo(args) => Box::pin(demo::run(args, standard)).await,
        Command::Interpreter(args) => Box::pin(interpreter::run(args, standard)).await,
        Command::Doctor(args) => Box::pin(doctor::run(args, standard)).await,
        Command::Prepare => Box::pin(prepare::run(standard)).await,
        #[cfg(feature = "mcp-server")]
        Command::Mcp(args) => Box::pin(mcp::run(*args, standard)).await,
        Command::View(args) => Box::pin(view::run(args, standard)).await,
        #[cfg(feature = "serve")]
        Command::Serve(args) => Box::pin(serve::run(*args, standard)).await,
        Command::Stats(args) => stats::run(&args, standard),
        Command::Eval(args) => Box::pin(eval::run(*args, standard)).await,
    }
}
