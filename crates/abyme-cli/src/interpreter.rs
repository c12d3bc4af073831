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
    backend::{self, Settings},
    exit::{Exit, Failure, unless_stopped},
    standard::Standard,
};

const MB: u64 = 1024 * 1024;

pub(crate) async fn run(args: InterpreterArgs, standard: &Standard) -> Result<Exit, Failure> {
    let settings = Settings {
        python: args.python.clone(),
        image: args.image.clone(),
        memory: args.memory_mb.map(|mb| mb * MB),
        disk: args.disk_mb.map(|mb| mb * MB),
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
    let serve = async {
        let mut session = Session::new(factory.create().await?);
        session.start().await?;
        Server::new(&args, reader, writer.clone()).serve(session).await
    };
    let ended = tokio::select! {
        ended = unless_stopped(serve) => ended?,
        // The reader closed stdout and takes no more answers, so the session ends.
        () = writer.broken() => return Err(Failure::quiet(Exit::Output)),
    };
    writer.finish().await;
    ended
}
