//! `droste run`: one task over inputs of any size.

mod inputs;
mod output;

use std::{path::Path, sync::Arc, time::Instant};

use droste::{CodePolicy, Rlm, RlmBuilder, TaskSignature, Text, TrajectoryWriter};

use crate::{
    args::{LimitArgs, Policy, RunArgs},
    backend,
    exit::{Exit, Failure},
    models,
    progress::{Detail, Progress, Target},
    signals, terminal,
};

pub(crate) async fn run(args: RunArgs) -> Result<Exit, Failure> {
    // Everything that can be wrong is looked at before anything costs time or money: what was typed first.
    let signature: TaskSignature = args.signature.parse().map_err(|error| Failure::before_run(&error))?;
    let names = args.input.iter().map(|input| input.name.as_str());
    inputs::check_once(&args.input)?;
    signature.check_inputs(names).map_err(|error| Failure::before_run(&error))?;
    let factory = backend::factory(&args.backend.interpreter, &settings(&args))?;
    let mut builder = Rlm::builder(args.signature.as_str()).interpreter(factory.clone());
    builder = limited(builder, &args.limits);
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
    let inputs = inputs::read(&args.input)?;
    let api_base = args.model.api_base.as_deref();
    let model = models::model(args.model.model.as_deref(), api_base);
    builder = builder.model(model.map_err(|error| Failure::before_run(&error))?);
    if let Some(sub_model) = &args.sub_model {
        let sub_model =
            models::model(Some(sub_model), api_base).map_err(|error| Failure::before_run(&error))?;
        builder = builder.sub_model(sub_model);
    }

    let detail = if args.verbose { Detail::Turns } else { Detail::Lines };
    let progress = Arc::new(Progress::new(Target::Stderr, detail));
    builder = builder.on_event(progress.clone());
    let trace = args.trace.as_deref().map(TrajectoryWriter::create).transpose();
    let trace = trace.map_err(|error| Failure::before_run(&error))?.map(Arc::new);
    if let Some(trace) = &trace {
        builder = builder.on_event(trace.clone());
    }
    let rlm = builder.build().map_err(|error| Failure::before_run(&error))?;

    let started = Instant::now();
    let ended = signals::unless_stopped(rlm.run(inputs)).await;
    let seconds = started.elapsed().as_secs_f64();
    progress.finish();
    if let Some(path) = &args.trace {
        match trace.and_then(|trace| trace.failure()) {
            Some(problem) => {
                terminal::say(&format!("droste: warning: {} is not complete: {problem}", path.display()))
            }
            None => terminal::say(&format!("the run is recorded in {}", path.display())),
        }
    }
    let prediction = ended??;
    let status = prediction.status();
    if !status.is_complete() {
        terminal::say(&format!(
            "droste: warning: the run ended by its limit `{status}`; the outputs are the model's estimate"
        ));
    }
    if args.json {
        let trace = args.trace.as_deref().map(Path::to_path_buf);
        terminal::write(&output::object(&prediction, seconds, factory.name(), trace.as_deref()))?;
    } else {
        terminal::write(&output::plain(prediction.outputs()))?;
    }
    Ok(Exit::Ok)
}

fn settings(args: &RunArgs) -> backend::Settings {
    backend::Settings { python: args.backend.python.clone(), ..backend::Settings::default() }
}

fn limited(mut builder: RlmBuilder, limits: &LimitArgs) -> RlmBuilder {
    if let Some(iterations) = limits.max_iterations {
        builder = builder.max_iterations(iterations);
    }
    if let Some(calls) = limits.max_llm_calls {
        builder = builder.max_llm_calls(calls);
    }
    if let Some(chars) = limits.max_output_chars {
        builder = builder.max_output_chars(chars);
    }
    if let Some(limit) = limits.cell_timeout {
        builder = builder.cell_time(limit);
    }
    builder.max_time(limits.max_time).max_cost(limits.max_cost)
}

/// Offers the functions of a Python file.
fn with_tool(builder: RlmBuilder, path: &Path) -> Result<RlmBuilder, Failure> {
    let source = Text::from_file(path).map_err(|error| Failure::before_run(&error.context("--tool")))?;
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    Ok(builder.python_tools(name, source.into_string()))
}
