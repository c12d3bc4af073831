//! `abyme run`: one task over inputs of any size.

mod schema;

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    path::Path,
    sync::Arc,
};

use abyme::TrajectoryWriter;

use crate::{
    args::RunArgs,
    exit::{Exit, Failure},
    inputs::{self, Source},
    rlm::{self, Described},
    running::Running,
    standard::Standard,
};

pub(crate) async fn run(args: RunArgs, standard: &Standard) -> Result<Exit, Failure> {
    // Everything is checked before anything costs time or money, and the command line's text first of all.
    let signature = schema::signature(&args.signature, args.schema.as_deref())?;
    let names = args.input.iter().map(|input| input.name.as_str());
    inputs::check_once(&args.input)?;
    signature.check_inputs(names).map_err(|error| Failure::before_run(&error))?;
    let inputs = inputs::read(&args.input, &signature, standard)?;
    if let Some(path) = &args.rlm.wrap.record {
        check_written("--record", path, &args)?;
    }
    let Described { mut builder, factory, wrapped } =
        rlm::described(&args.rlm, &signature, inputs::about_bytes(&args.input)).await?;
    if let Some(text) = &args.instructions {
        builder = builder.instructions(text);
    }
    for described in &args.describe {
        builder = builder.describe(&described.name, described.value.as_str());
    }

    if args.trace.is_some() {
        builder = builder.seed(RandomState::new().build_hasher().finish());
    }
    let rlm = builder.build().map_err(|error| Failure::before_run(&error))?;
    // After all checks, so that an error on the command line does not cost an earlier trace.
    let trace = args.trace.as_deref().map(|path| open_trace(path, &args)).transpose()?;
    let running = Running {
        json: args.json,
        verbose: args.rlm.verbose,
        interpreter: factory.name(),
        trace: args.trace.zip(trace),
        wrapped,
    };
    running.finish(rlm.run(inputs), standard).await
}

/// The file that the run is recorded in.
fn open_trace(path: &Path, args: &RunArgs) -> Result<Arc<TrajectoryWriter>, Failure> {
    check_written("--trace", path, args)?;
    let writer = TrajectoryWriter::create(path).map_err(|error| Failure::before_run(&error))?;
    Ok(Arc::new(writer))
}

/// What is written replaces a file of its name, which must not be one that the run reads.
fn check_written(flag: &str, written: &Path, args: &RunArgs) -> Result<(), Failure> {
    let Ok(written) = written.canonicalize() else { return Ok(()) };
    let files = args.input.iter().filter_map(|input| match Source::of(input) {
        Source::File(path) => Some(path),
        _ => None,
    });
    for file in files.chain(args.rlm.tool.iter().map(AsRef::as_ref)) {
        if file.canonicalize().is_ok_and(|file| file == written) {
            let message = format!("{flag} would overwrite `{}`, which this run reads", file.display());
            return Err(Failure::usage(message).hint("name another file"));
        }
    }
    Ok(())
}
