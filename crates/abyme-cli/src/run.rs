//! `abyme run`: one task over inputs of any size.

pub(crate) mod schema;

use std::sync::Arc;

use abyme::TrajectoryWriter;

use crate::{
    args::RunArgs,
    exit::{Exit, Failure},
    files, inputs,
    rlm::{self, Described},
    running::Running,
    standard::Standard,
};

pub(crate) async fn run(args: RunArgs, standard: &Standard) -> Result<Exit, Failure> {
    // Everything is checked before anything costs time or money, and the command line's text first of all.
    let signature = schema::signature(&args.signature, args.schema.as_deref())?;
    let names = args.input.iter().map(|input| input.name.as_str());
    inputs::check(&args.input)?;
    signature.check_inputs(names).map_err(|error| Failure::before_run(&error))?;
    let read = inputs::files(&args.input).chain(args.rlm.read_files()).chain(args.schema.as_deref());
    let written = [("--record", args.rlm.wrap.record.as_deref()), ("--trace", args.trace.as_deref())];
    files::check_written(written, read)?;
    let inputs = inputs::read(&args.input, &signature, standard)?;
    let Described { mut builder, factory, wrapped } =
        rlm::described(&args.rlm, &signature, inputs::about_bytes(&args.input), 1).await?;
    if let Some(text) = &args.instructions {
        builder = builder.instructions(text);
    }
    for described in &args.describe {
        builder = builder.describe(&described.name, described.value.as_str());
    }

    let rlm = rlm::seeded(builder, &args.rlm, args.trace.is_some())
        .build()
        .map_err(|error| Failure::before_run(&error))?;
    // After all checks, so that an error on the command line does not cost an earlier trace.
    let trace = args.trace.as_deref().map(TrajectoryWriter::create).transpose();
    let trace = trace.map_err(|error| Failure::before_run(&error))?.map(Arc::new);
    let running = Running {
        json: args.json,
        verbose: args.rlm.verbose,
        asks: args.rlm.asks_before_tools().then_some(standard),
        interpreter: factory.name(),
        trace: args.trace.zip(trace),
        wrapped,
    };
    running.finish(rlm.run(inputs), standard).await
}
