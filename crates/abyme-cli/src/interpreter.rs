//! `abyme interpreter`: one session on stdin and stdout, JSON lines, so that any language can drive it.
//!
//! The lines are described in the crate's README. stdout carries nothing else, ever.

mod answer;
mod calls;
mod lines;
mod server;
mod stdio;

use std::sync::Arc;

use abyme::{CodeInterpreter, Session};

use self::{
    server::Server,
    stdio::{Reader, Writer},
};
use crate::{
    args::InterpreterArgs,
    backend::{self, Settings, megabytes},
    exit::{Exit, Failure},
    signals::{ORDERLY_TIMEOUT, Stop, clean_up_grace},
    standard::Standard,
    terminal,
};

const MB: u64 = 1024 * 1024;

pub(crate) async fn run(args: InterpreterArgs, standard: &Standard) -> Result<Exit, Failure> {
    let settings = Settings {
        python: args.python.clone(),
        image: args.image.clone(),
        memory: megabytes(args.memory_mb),
        disk: megabytes(args.disk_mb),
        message: megabytes(args.max_message_mb),
        isolation: args.isolation,
        sessions: None,
    };
    if args.backend == "pyo3" && (args.memory_mb.is_some() || args.disk_mb.is_some()) {
        return Err(Failure::usage(
            "--memory-mb and --disk-mb cannot hold here: `pyo3` runs the code in this very process, \
             without limits",
        ));
    }
    let factory = backend::factory(&args.backend, &settings)?;
    // Reading begins at once: what is there before the first cell runs was sent together with it.
    let reader =
        Reader::start(standard.input(), usize::try_from(args.max_line_mb * MB).unwrap_or(usize::MAX))?;
    let writer = Arc::new(Writer::start(standard.output())?);
    let mut stop = Stop::listen()?;
    let start = async {
        let mut session = Session::new(factory.create().await?);
        session.start().await?;
        Ok::<_, abyme::Error>(session)
    };
    let mut session = tokio::select! {
        started = start => started?,
        exit = stop.received() => {
            // What was about to start has no session yet that could be shut down.
            tokio::time::sleep(clean_up_grace(&args.backend)).await;
            return Err(Failure::quiet(exit));
        }
    };
    let exit = tokio::select! {
        exit = Server::new(&args, reader, writer.clone()).serve(&mut session) => Ok(exit),
        exit = stop.received() => Err(exit),
        // The reader closed stdout and takes no more answers.
        () = writer.broken() => Err(Exit::Output),
    };
    // A shutdown ends processes and removes their directories, whatever the session was doing.
    match (tokio::time::timeout(ORDERLY_TIMEOUT, session.shutdown()).await, exit) {
        (Ok(Err(error)), Ok(_)) => {
            terminal::say(&format!("abyme: warning: the session did not shut down cleanly: {error}"));
        }
        (Err(_), Ok(_)) => terminal::say("abyme: warning: the session did not shut down in time"),
        _ => {}
    }
    match exit {
        Ok(exit) if writer.finish().await => Ok(exit),
        Ok(_) => Err(Failure::new(Exit::Output, "cannot write the answers to stdout")),
        Err(exit) => Err(Failure::quiet(exit)),
    }
}
