//! `abyme run`: one task over inputs of any size.

mod schema;

use std::{path::Path, sync::Arc, time::Instant};

use abyme::{Status, Trajectory, TrajectoryWriter};

use crate::{
    args::RunArgs,
    exit::{Exit, Failure},
    inputs::{self, Source},
    output,
    progress::{Detail, Progress, Target},
    rlm::{self, Described},
    signals::{ORDERLY_TIMEOUT, Stop},
    standard::Standard,
    terminal,
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

    let detail = if args.rlm.verbose { Detail::Turns } else { Detail::Lines };
    let progress = Arc::new(Progress::new(Target::Stderr, detail));
    let rlm = builder.build().map_err(|error| Failure::before_run(&error))?;
    let mut run = rlm.run(inputs).on_event(progress.clone());
    // After all checks, so that an error on the command line does not cost an earlier trace.
    let trace = args.trace.as_deref().map(|path| open_trace(path, &args)).transpose()?;
    if let Some(trace) = &trace {
        run = run.on_event(trace.clone());
    }

    let mut stop = Stop::listen()?;
    let handle = run.cancel_handle();
    let started = Instant::now();
    let mut running = run.into_future();
    let ended = tokio::select! {
        ended = &mut running => Ok(ended),
        exit = stop.received() => {
            // A cancelled run ends its session and closes its record. A second signal does not wait for that.
            handle.cancel();
            tokio::select! {
                _ = tokio::time::timeout(ORDERLY_TIMEOUT, &mut running) => {}
                _ = stop.received() => {}
            }
            Err(Failure::quiet(exit))
        }
    };
    drop(running);
    let seconds = started.elapsed().as_secs_f64();
    progress.finish();
    if let Some((path, trace)) = args.trace.as_ref().zip(trace) {
        match trace.failure() {
            Some(problem) => {
                terminal::say(&format!("abyme: warning: {} is not complete: {problem}", path.display()))
            }
            None => terminal::say(&format!("the run is recorded in {}", path.display())),
        }
    }
    if args.rlm.verbose {
        let trajectory = ended.as_ref().ok().and_then(|ended| match ended {
            Ok(prediction) => Some(prediction.trajectory()),
            Err(error) => error.trajectory(),
        });
        trajectory.into_iter().for_each(show_ledger);
    }
    let prediction = ended??;
    wrapped.finish()?;
    let status = prediction.status();
    if !status.is_complete() {
        let why = match status {
            Status::LimitReached(limit) => format!("ended by its limit `{limit}`"),
            _ => "could not go on".to_owned(),
        };
        terminal::say(&format!("abyme: warning: the run {why}; the outputs are the model's estimate"));
    }
    if args.json {
        let trace = args.trace.as_deref().map(Path::to_path_buf);
        standard.write(&output::object(&prediction, seconds, factory.name(), trace.as_deref()))?;
    } else {
        standard.write(&output::plain(prediction.outputs()))?;
    }
    Ok(Exit::Ok)
}

/// What the run used, for people.
pub(crate) fn show_ledger(trajectory: &Trajectory) {
    let ledger = trajectory.ledger().to_string();
    ledger.lines().for_each(terminal::say);
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
