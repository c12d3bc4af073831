//! `abyme run`: one task over inputs of any size.

mod inputs;
#[cfg(feature = "mcp")]
mod mcp;
mod output;
mod schema;
mod sub_models;
mod wrapped;

use std::{path::Path, sync::Arc, time::Instant};

use abyme::{
    CodePolicy, LanguageModel, Limits, Price, PromptProfile, RetryPolicy, Rlm, RlmBuilder, Status,
    Trajectory, TrajectoryWriter,
};

use self::{inputs::Source, wrapped::Wrapped};
use crate::{
    args::{LimitArgs, Policy, Profile, RunArgs},
    backend,
    exit::{Exit, Failure},
    files,
    models::{self, Model},
    progress::{Detail, Progress, Target},
    signals::{ORDERLY_TIMEOUT, Stop},
    standard::Standard,
    terminal,
};

/// The largest file of tools.
const MAX_TOOL_BYTES: u64 = 16 << 20;

pub(crate) async fn run(args: RunArgs, standard: &Standard) -> Result<Exit, Failure> {
    // Everything is checked before anything costs time or money, and the command line's text first of all.
    let signature = schema::signature(&args.signature, args.schema.as_deref())?;
    let sub_models = sub_models::read(&args.sub_model)?;
    let names = args.input.iter().map(|input| input.name.as_str());
    inputs::check_once(&args.input)?;
    signature.check_inputs(names).map_err(|error| Failure::before_run(&error))?;
    let factory = backend::factory(&args.backend.interpreter, &settings(&args))?;
    let mut builder = Rlm::builder(signature.clone()).interpreter(factory.clone());
    builder = builder.limits(|limits| limited(limits, &args.limits));
    if let Some(text) = &args.instructions {
        builder = builder.instructions(text);
    }
    for described in &args.describe {
        builder = builder.describe(&described.name, described.value.as_str());
    }
    for path in &args.tool {
        builder = with_tool(builder, path)?;
    }
    if let Some(Policy::GuardRail) = args.policy {
        builder = builder.policy(CodePolicy::guard_rail());
    }
    if let Some(retries) = args.limits.retries {
        builder = builder.retry(RetryPolicy::default().max_retries(retries));
    }
    builder = builder.stop_early(!args.whole_replies).prompt_profile(match args.prompt_profile {
        Profile::Auto => PromptProfile::Auto,
        Profile::Standard => PromptProfile::Standard,
        Profile::Small => PromptProfile::Small,
        Profile::SmallPrefilled => PromptProfile::SmallPrefilled,
    });
    let inputs = inputs::read(&args.input, &signature, standard)?;
    let prices = models::prices(args.prices.as_deref()).map_err(|error| Failure::before_run(&error))?;
    let client = |name: Option<&str>, price: Option<Price>| -> Result<Arc<dyn LanguageModel>, Failure> {
        let model = models::model(name, &args.model).map_err(|error| Failure::before_run(&error))?;
        let model = prices.iter().fold(model, Model::with_prices);
        Ok(price.into_iter().fold(model, Model::with_price).shared())
    };
    if let Some(path) = &args.wrap.record {
        check_written("--record", path, &args)?;
    }
    let wrapped = Wrapped::new(&args.wrap, &args.model).map_err(|error| Failure::before_run(&error))?;
    let model = |name: Option<&str>, price: Option<Price>| -> Result<Arc<dyn LanguageModel>, Failure> {
        let fallback = args.wrap.fallback.as_deref().map(|other| client(Some(other), None)).transpose()?;
        Ok(wrapped.around(client(name, price)?, fallback))
    };
    builder = builder.model(model(args.model.model.as_deref(), args.price)?);
    if let Some(sub_model) = sub_models.default {
        builder = builder.sub_model(model(Some(sub_model), args.sub_price)?);
    } else if args.sub_price.is_some() {
        return Err(Failure::usage("--sub-price has no --sub-model that it could be the price of"));
    }
    for (name, named) in sub_models.named {
        builder = builder.named_model(name, model(Some(named), None)?);
    }

    #[cfg(feature = "mcp")]
    for server in &args.mcp {
        builder = builder.tools(mcp::tools(server).await?);
    }

    let detail = if args.verbose { Detail::Turns } else { Detail::Lines };
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
    if args.verbose {
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

fn settings(args: &RunArgs) -> backend::Settings {
    let memory = backend::memory_for(&args.backend.interpreter, inputs::about_bytes(&args.input));
    args.backend.settings(memory)
}

/// What the run used, for people.
fn show_ledger(trajectory: &Trajectory) {
    let ledger = trajectory.ledger().to_string();
    ledger.lines().for_each(terminal::say);
}

fn limited(mut limits: Limits, args: &LimitArgs) -> Limits {
    if let Some(iterations) = args.max_iterations {
        limits = limits.max_iterations(iterations);
    }
    if let Some(calls) = args.max_llm_calls {
        limits = limits.max_llm_calls(calls);
    }
    if let Some(chars) = args.max_output_chars {
        limits = limits.max_output_chars(chars);
    }
    if let Some(limit) = args.cell_timeout {
        limits = limits.cell_timeout(limit);
    }
    if let Some(limit) = args.model_timeout {
        limits = limits.model_timeout(limit);
    }
    if let Some(calls) = args.max_concurrent_calls {
        limits = limits.max_concurrent_calls(calls);
    }
    if let Some(depth) = args.max_depth {
        limits = limits.max_depth(depth);
    }
    limits.run_timeout(args.run_timeout).max_tokens(args.max_tokens).max_cost(args.max_cost)
}

/// Offers the functions of a Python file.
fn with_tool(builder: RlmBuilder, path: &Path) -> Result<RlmBuilder, Failure> {
    let source = files::read(path, MAX_TOOL_BYTES)
        .and_then(|bytes| files::text(bytes, &format!("`{}`", path.display()), &path.display().to_string()))
        .map_err(|failure| failure.context("--tool"))?;
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    Ok(builder.python_tools(name, source.into_string()))
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
    for file in files.chain(args.tool.iter().map(AsRef::as_ref)) {
        if file.canonicalize().is_ok_and(|file| file == written) {
            let message = format!("{flag} would overwrite `{}`, which this run reads", file.display());
            return Err(Failure::usage(message).hint("name another file"));
        }
    }
    Ok(())
}
