//! `abyme resume`, `abyme replay` and `abyme fork`: runs that begin with the record of another.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use abyme::{
    EffectDecision, Event, LanguageModel, Prediction, Response, Rlm, Run, Trajectory, TrajectoryWriter,
    UnfinishedEffect, Value, testing::ScriptedModel,
};
use abyme_files::Loaded;
use clap::ValueEnum;
use indexmap::IndexMap;

use crate::{
    approval::is_yes,
    args::{ForkArgs, GivenFlags, Policy, Profile, RecordedArgs, ReplayArgs, ResumeArgs, RlmArgs},
    ask,
    exit::{Exit, Failure},
    files, inputs, json, models, output,
    progress::Progress,
    rlm::{self, Described, Wrapped},
    running::Running,
    standard::Standard,
};

/// What a record calls the policy that `--policy` names.
const GUARD_RAIL: &str = "guard_rail";
/// The input with the files of a question.
const FILES: &str = "files";

/// `abyme resume`: goes on where the record ends, and in its file.
pub(crate) async fn resume(args: ResumeArgs, standard: &Standard) -> Result<Exit, Failure> {
    let ResumeArgs { recorded, repeat_effects } = args;
    files::check_regular(&recorded.file)?;
    // It is held from here on, so that nothing else goes on with it.
    let (record, writer) =
        TrajectoryWriter::append(&recorded.file).map_err(|error| Failure::before_run(&error))?;
    let (file, writer) = (recorded.file.clone(), Arc::new(writer));
    let prepared = Prepared::new(recorded, &record, Ask::Models, None, standard).await?;
    let run = prepared.rlm.resume_from(record.clone());
    prepared.carry_out(run, Some(&record), Some((file, writer)), repeat_effects, standard).await
}

/// `abyme fork`: goes on from the end of a turn, as a run of its own.
pub(crate) async fn fork(args: ForkArgs, standard: &Standard) -> Result<Exit, Failure> {
    let ForkArgs { recorded, turn, trace, repeat_effects } = args;
    let record = load(&recorded.file)?;
    let prepared = Prepared::new(recorded, &record, Ask::Models, trace.as_deref(), standard).await?;
    let run = with_trace(prepared.rlm.fork_from(&record, turn), trace);
    prepared.carry_out(run, None, None, repeat_effects, standard).await
}

/// `abyme replay`: does again what a record says, and finds the first difference; or goes on from there.
pub(crate) async fn replay(args: ReplayArgs, standard: &Standard) -> Result<Exit, Failure> {
    let ReplayArgs { recorded, trace } = args;
    let record = load(&recorded.file)?;
    let is_live = recorded.rlm.model.model.is_some();
    let ask = if is_live { Ask::Models } else { Ask::Nobody };
    let json = recorded.json;
    let prepared = Prepared::new(recorded, &record, ask, trace.as_deref(), standard).await?;
    let run = prepared.rlm.replay_from(record);
    let run = with_trace(if is_live { run.live() } else { run }, trace);
    match prepared.carry_out(run, None, None, false, standard).await {
        // The record ends before its run did, and nothing differed until then.
        Err(failure) if !is_live && failure.exit() == Exit::Interrupted && failure.says() => {
            failure.show_as_warning();
            Ok(Exit::Ok)
        }
        Err(failure) => {
            if let (true, Exit::Differs, Some(difference)) = (json, failure.exit(), failure.difference()) {
                let fields = [
                    ("status".to_owned(), "differs".into()),
                    ("difference".to_owned(), output::difference(difference)),
                ];
                standard.write(&output::line(fields.into()))?;
            }
            Err(failure)
        }
        ended => ended,
    }
}

fn load(path: &Path) -> Result<Trajectory, Failure> {
    files::check_read(path)?;
    Trajectory::load(path).map_err(|error| Failure::before_run(&error))
}

/// Records a run in a file of its own.
fn with_trace(run: Run, trace: Option<PathBuf>) -> Run {
    match trace {
        Some(path) => run.trace(path),
        None => run,
    }
}

/// Whether models are asked.
#[derive(Clone, Copy)]
enum Ask {
    Models,
    /// No key is needed then.
    Nobody,
}

/// A model that is never asked.
fn nobody(name: &str) -> impl LanguageModel + 'static {
    ScriptedModel::replies::<Response>([]).with_name(name)
}

/// What a run with a record needs beside it.
struct Prepared {
    rlm: Rlm,
    interpreter: String,
    wrapped: Wrapped,
    args: RlmArgs,
    json: bool,
    /// The files of a question.
    loaded: Option<Loaded>,
}

impl Prepared {
    /// Puts together what the record says, and what the flags say in its place.
    async fn new(
        args: RecordedArgs,
        record: &Trajectory,
        ask: Ask,
        trace: Option<&Path>,
        standard: &Standard,
    ) -> Result<Self, Failure> {
        let RecordedArgs { file, files, load, mut rlm, json, given } = args;
        let Some(Event::RunStarted {
            signature,
            inputs,
            model,
            sub_model,
            interpreter,
            profile,
            policy,
            tools,
            parent: None,
            ..
        }) = record.events().next()
        else {
            let message = format!("{} does not begin with the start of a run", file.display());
            return Err(
                Failure::usage(message).hint("the record of a run has its beginning in its first event")
            );
        };
        use_models(&mut rlm, model, sub_model);
        use_interpreter(&mut rlm, interpreter, given)?;
        if let Some(profile) = profile {
            use_profile(&mut rlm, profile, given)?;
            use_policy(&mut rlm, policy.as_deref())?;
        }
        let loaded = match files.is_empty() {
            false => Some(ask::load(files, &load, standard).await?),
            true => None,
        };
        let written = [("--record", rlm.wrap.record.as_deref()), ("--trace", trace)];
        let of_question = loaded.iter().flat_map(Loaded::paths);
        files::check_written(written, rlm.read_files().chain([file.as_path()]).chain(of_question))?;
        let signature = match &loaded {
            Some(loaded) => {
                &loaded.signature_again(signature).map_err(|error| Failure::before_run(&error))?
            }
            None => signature,
        };
        let has_tables = tools.iter().any(Loaded::is_own_tool);
        if let (true, None, Ask::Models) = (has_tables, &loaded, ask) {
            let message =
                format!("{} is of a question about tables, and goes on with their files", file.display());
            return Err(Failure::usage(message)
                .hint(format!("name them after the record, as they were: {} shop.db", file.display())));
        }
        if let Some(loaded) = &loaded {
            check_inputs(inputs, loaded)?;
        }
        let bytes = inputs.values().map(inputs::about_bytes_of).sum();
        let Described { mut builder, wrapped, .. } = rlm::described(&rlm, signature, bytes, 1).await?;
        builder = builder.tools(loaded.iter().flat_map(Loaded::tools));
        if let Ask::Nobody = ask {
            builder = builder.model(nobody(model)).sub_model(nobody(sub_model));
        }
        let built = builder.build().map_err(|error| Failure::before_run(&error))?;
        Ok(Self { rlm: built, interpreter: interpreter.clone(), wrapped, args: rlm, json, loaded })
    }

    /// Carries the run out. `before` is what it did already that it does not tell again.
    async fn carry_out(
        self,
        run: Run,
        before: Option<&Trajectory>,
        trace: Option<(PathBuf, Arc<TrajectoryWriter>)>,
        repeat_effects: bool,
        standard: &Standard,
    ) -> Result<Exit, Failure> {
        let run = run.limits(|limits| rlm::limited(limits, &self.args.limits));
        let (json, verbose) = (self.json, self.args.verbose);
        let asks = self.args.asks_before_tools().then_some(standard);
        let (interpreter, wrapped) = (&*self.interpreter, self.wrapped);
        let running = Running { json, verbose, asks, interpreter, trace, wrapped };
        let progress = Arc::new(running.progress(standard));
        before.iter().for_each(|record| progress.catch_up(record));
        let stopped = Arc::new(AtomicBool::new(false));
        let decide = decide(repeat_effects, progress.clone(), standard.clone(), stopped.clone());
        let run = run.on_unfinished_effect(decide);
        let hinted = |ended: Result<Exit, Failure>| match stopped.load(Ordering::Relaxed) {
            true => ended.map_err(|failure| failure.hint("--repeat-effects makes the call again")),
            false => ended,
        };
        let Some(loaded) = &self.loaded else {
            return hinted(running.finish_shown(run, progress, standard).await);
        };
        let (interpreter, trace) =
            (running.interpreter, running.trace.as_ref().map(|(path, _)| path.clone()));
        let print = |prediction: &Prediction, seconds: f64| {
            let fields = || output::fields(prediction, seconds, interpreter, trace.as_deref());
            ask::print(&ask::answer(prediction, loaded), json.then(fields), standard)
        };
        hinted(running.finish_with(run, progress, print).await)
    }
}

/// The models of the record, where no flag names others. One that the environment names is asked as it says.
fn use_models(args: &mut RlmArgs, model: &str, sub_model: &str) {
    let is_configured =
        || models::model(None, &args.model).is_ok_and(|configured| configured.name() == model);
    if args.model.model.is_none() && !is_configured() {
        args.model.model = Some(model.to_owned());
    }
    if sub_model != model && args.sub_model.iter().all(|given| given.contains('=')) {
        args.sub_model.push(sub_model.to_owned());
    }
}

/// The backend of the record: a session cannot be brought back in another one.
fn use_interpreter(args: &mut RlmArgs, recorded: &str, given: GivenFlags) -> Result<(), Failure> {
    if given.interpreter && args.backend.interpreter != recorded {
        return Err(other("--interpreter", "interpreter", recorded, &args.backend.interpreter));
    }
    args.backend.interpreter = recorded.to_owned();
    Ok(())
}

/// The profile of the record: the model has read its prompts.
fn use_profile(args: &mut RlmArgs, recorded: &str, given: GivenFlags) -> Result<(), Failure> {
    let name = |profile: Profile| {
        let name = Value::from_serialize(&abyme::Profile::from(profile)).ok();
        name.and_then(|name| name.as_text().map(str::to_owned)).unwrap_or_default()
    };
    if given.profile && name(args.profile) != recorded {
        return Err(other("--profile", "profile", recorded, &name(args.profile)));
    }
    match Profile::value_variants().iter().find(|profile| name(**profile) == recorded) {
        Some(profile) => args.profile = *profile,
        None => {
            let message = format!("the record is of the profile `{recorded}`, which this command has not");
            return Err(Failure::usage(message).hint("a newer `abyme` may have it"));
        }
    }
    Ok(())
}

/// The policy of the record, so that no cell goes unchecked because a flag was forgotten.
fn use_policy(args: &mut RlmArgs, recorded: Option<&str>) -> Result<(), Failure> {
    match (recorded, args.policy) {
        (Some(GUARD_RAIL), _) => args.policy = Some(Policy::GuardRail),
        (None, Some(_)) => {
            let message = "the cells of the record were checked by no policy, and --policy names one";
            return Err(Failure::usage(message).hint("leave --policy out"));
        }
        (None, None) => {}
        (Some(_), _) => {
            let message = "the cells of the record were checked by a policy of a program's own";
            return Err(Failure::usage(message).hint("go on with it in that program"));
        }
    }
    Ok(())
}

fn other(flag: &str, what: &str, recorded: &str, given: &str) -> Failure {
    let message = format!("the record is of the {what} `{recorded}`, and cannot go on with `{given}`");
    Failure::usage(message).hint(format!("leave {flag} out"))
}

/// Refuses other files than those that the question was asked about.
fn check_inputs(recorded: &IndexMap<String, Value>, loaded: &Loaded) -> Result<(), Failure> {
    let files_of = |value: Option<&Value>| value.and_then(Value::as_dict).cloned().unwrap_or_default();
    let now = loaded.inputs("");
    let (was, now) = (files_of(recorded.get(FILES)), files_of(now.get(FILES)));
    // NaN is not equal to itself, so the JSON is compared too.
    let text = |value: Option<&Value>| value.map(json::strict);
    let differs = |name: &&String| {
        let (was, now) = (was.get(*name), now.get(*name));
        was != now && text(was) != text(now)
    };
    let Some(name) = was.keys().chain(now.keys()).find(differs) else { return Ok(()) };
    let problem = match (was.get(name), now.get(name)) {
        (Some(_), None) => format!("`{name}` is missing"),
        (None, _) => format!("`{name}` is new"),
        _ => format!("`{name}` is not as it was"),
    };
    let message = format!("the record is of a question about other files: {problem}");
    Err(Failure::usage(message).hint("name the files after the record, as they were"))
}

/// Asks on the terminal whether a call that may have taken effect is made again. `stopped` says that one is
/// not.
fn decide(
    repeat: bool,
    progress: Arc<Progress>,
    standard: Standard,
    stopped: Arc<AtomicBool>,
) -> impl Fn(&UnfinishedEffect) -> EffectDecision + Send + Sync + 'static {
    move |effect| {
        if repeat {
            return EffectDecision::Repeat;
        }
        let question = format!("{effect}. Call it again? [y/N]");
        match progress.ask(&standard, &question) {
            Some(answer) if is_yes(&answer) => EffectDecision::Repeat,
            _ => {
                stopped.store(true, Ordering::Relaxed);
                EffectDecision::Stop
            }
        }
    }
}
