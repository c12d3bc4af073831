//! `abyme eval`: many questions with expected answers, by several models and settings.

mod settings;

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use abyme::{Error, ErrorKind, LanguageModel, Rlm, TaskSignature, reexports::serde_json};
use abyme_eval::{
    Evaluation, EvaluationConfig, EvaluationEnd, Generator, Kind, Outcome, PlainConfig, Setting, Stop,
    TaskResult, Tasks,
};

use self::settings::{GivenSetting, settings};
use crate::{
    args::{BackendArgs, EvalArgs, Generated, LimitArgs, RlmArgs, TooLong, WrapArgs},
    exit::{Exit, Failure},
    files, models,
    rlm::{self, Shared},
    signals::{clean_up_grace, unless_stopped},
    standard::Standard,
    terminal,
};

/// What the inputs of a task are for, in the words of its signature.
const INSTRUCTIONS: &str = "Answer the question from the other inputs.";

/// An `Rlm` of each setting, once they are needed.
type Rlms = OnceLock<HashMap<String, Rlm>>;

pub(crate) async fn run(args: EvalArgs, standard: &Standard) -> Result<Exit, Failure> {
    if let Some(kind) = args.generate {
        return generate(&args, kind, standard);
    }
    let path = args.tasks.clone().unwrap_or_default();
    let record = args.models.args.wrap.record.as_deref();
    files::check_written([("--record", record)], args.models.args.read_files().chain([&*path]))?;
    files::check_read(&path)?;
    let tasks = Tasks::open(&path).map_err(|error| Failure::before_run(&error))?;
    let directory = args.output.clone().unwrap_or_else(|| path.with_extension("eval"));
    let line: Vec<_> = std::env::args_os().collect();
    let columns = columns(&args, settings(&args, &line)?)?;
    let mut shared = Shared::new(&args.models.args.wrap, &args.models.args.model)?;
    let rlms = Arc::new(Rlms::new());
    let settings = columns.iter().map(|column| column.setting(&rlms, &mut shared));
    let settings = settings.collect::<Result<Vec<_>, _>>()?;
    let mut config = EvaluationConfig::default().repetitions(args.repetitions);
    config = config.concurrency(args.concurrency as usize).max_total_cost(args.max_total_cost);
    let mut evaluation = Evaluation::new(tasks.clone(), settings).config(config).on_result(show);
    if let Some(judge) = &args.judge {
        evaluation = evaluation.judge(rlm::model(&args.models.args, Some(judge), None, &mut shared)?);
    }
    let missing = evaluation.missing(&directory).map_err(|error| Failure::before_run(&error))?;
    let grace = clean_up_grace(&args.models.args.backend.interpreter);
    let work = async {
        if missing > 0 {
            // Everything is checked before anything costs time or money.
            let made = make(&args, &columns, &tasks, &mut shared).await?;
            rlms.get_or_init(|| made);
        }
        evaluation.run(&directory).await.map_err(|error| Failure::before_run(&error))
    };
    let EvaluationEnd { report, missing, stop, .. } = unless_stopped(work, grace).await??;
    standard.write(&if args.json {
        report.to_json()
    } else {
        terminal::escape(&report.to_string()).into()
    })?;
    terminal::say(&format!("results, records and the report are in {}", directory.display()));
    match stop {
        None => {
            shared.wrapped.finish_replay()?;
            shared.wrapped.finish_recording()?;
            Ok(Exit::Ok)
        }
        Some(Stop::Error(error) | Stop::Broken(error)) => {
            Err(Failure::from(error).context(&format!("{missing} tries are missing")))
        }
        Some(_) => {
            let message = format!("--max-total-cost is used up, and {missing} tries are missing");
            Err(Failure::new(Exit::Limit, message).hint("run it again with more, and it goes on"))
        }
    }
}

/// Prints tasks.
fn generate(args: &EvalArgs, kind: Generated, standard: &Standard) -> Result<Exit, Failure> {
    let kind = match kind {
        Generated::SNiah => Kind::SNiah,
        Generated::Oolong => Kind::Oolong,
        Generated::OolongPairs => Kind::OolongPairs,
    };
    let seed = args.models.args.model.seed.unwrap_or(1).cast_unsigned();
    let generator = Generator::new(kind).tokens(args.tokens.iter().copied()).count(args.count).seed(seed);
    for task in generator.tasks() {
        let line = serde_json::to_string(&task);
        let line = line.map_err(|error| Failure::new(Exit::Failed, format!("a task is no JSON: {error}")))?;
        standard.write(&(line + "\n"))?;
    }
    Ok(Exit::Ok)
}

/// A setting with its model.
struct Column {
    name: String,
    baseline: Option<String>,
    rlm: RlmArgs,
    /// What is done with what is too long, for a plain call.
    plain: Option<TooLong>,
}

/// Each model with each setting, and asked plainly.
fn columns(args: &EvalArgs, given: Vec<GivenSetting>) -> Result<Vec<Column>, Failure> {
    let with_model = |mut rlm: RlmArgs, model: Option<String>| {
        rlm.model.model = model;
        let name = models::model(rlm.model.model.as_deref(), &rlm.model);
        name.map(|model| (model.name().to_owned(), rlm)).map_err(|error| Failure::before_run(&error))
    };
    let of_all = match &args.models.models[..] {
        [] => vec![None],
        models => models.iter().cloned().map(Some).collect(),
    };
    let mut columns: Vec<Column> = Vec::new();
    let plain = args.plain.or(args.no_rlm.then_some(TooLong::Refuse));
    if let Some(too_long) = plain {
        for model in &of_all {
            let (name, rlm) = with_model(args.models.args.clone(), model.clone())?;
            columns.push(Column {
                name: format!("{name} plain"),
                baseline: None,
                rlm,
                plain: Some(too_long),
            });
        }
    }
    for GivenSetting { name: setting, models, rlm } in given {
        let models = if models.is_empty() { &of_all } else { &models.into_iter().map(Some).collect() };
        for model in models.iter().filter(|_| !args.no_rlm) {
            let (name, rlm) = with_model(rlm.clone(), model.clone())?;
            let plain = format!("{name} plain");
            let first = columns.iter().find(|column| column.name == plain).or(columns.first());
            let baseline = first.map(|column| column.name.clone());
            let name = if setting.is_empty() { name } else { format!("{name} {setting}") };
            columns.push(Column { name, baseline, rlm, plain: None });
        }
    }
    Ok(columns)
}

impl Column {
    fn setting(&self, rlms: &Arc<Rlms>, shared: &mut Shared) -> Result<Setting, Failure> {
        let setting = match self.plain {
            Some(too_long) => {
                let model = self.model(shared)?;
                let too_long = match too_long {
                    TooLong::Refuse => abyme_eval::TooLong::Refuse,
                    TooLong::Truncate => abyme_eval::TooLong::Truncate,
                };
                let mut config = PlainConfig::default().too_long(too_long);
                if let Some(retries) = self.rlm.limits.retries {
                    config.retry = config.retry.max_retries(retries);
                }
                Setting::plain(&self.name, model, config)
            }
            None => {
                let (rlms, name) = (rlms.clone(), self.name.clone());
                Setting::rlm(&self.name, move |signature| {
                    let made = rlms.get().and_then(|rlms| rlms.get(&name));
                    let made = made.ok_or_else(|| {
                        Error::new(ErrorKind::Internal, format!("nothing was made for `{name}`"))
                    })?;
                    made.with_signature(instructed(signature))
                })
            }
        };
        Ok(setting.baseline(self.baseline.clone()).options(self.options()?))
    }

    fn model(&self, shared: &mut Shared) -> Result<Arc<dyn LanguageModel>, Failure> {
        rlm::model(&self.rlm, self.rlm.model.model.as_deref(), self.rlm.price, shared)
    }

    /// What decides about its answers. Rates, retries, prices, how long a try may take and how many calls go
    /// at once do not. All flags are named, so that a new one is thought of here.
    fn options(&self) -> Result<String, Failure> {
        let RlmArgs {
            model,
            price: _,
            prices: _,
            sub_model,
            sub_price: _,
            wrap: WrapArgs { fallback, rpm: _, tpm: _, cache: _, record: _, replay: _ },
            backend: BackendArgs { interpreter, python, image, isolation, max_message_mb },
            tool,
            #[cfg(feature = "mcp")]
            mcp,
            #[cfg(feature = "mcp")]
            ask_before_tools,
            policy,
            profile,
            whole_replies,
            session_seed,
            deterministic,
            limits,
            verbose: _,
        } = &self.rlm;
        let LimitArgs {
            max_iterations,
            max_llm_calls,
            max_depth,
            max_concurrent_calls: _,
            max_tokens,
            max_cost,
            run_timeout,
            max_output_chars,
            compact_at,
            max_input_tokens: input,
            cell_timeout,
            model_timeout: _,
            retries: _,
        } = limits;
        if let Some(too_long) = self.plain {
            return Ok(format!("{model:?} {fallback:?} {too_long:?} {input:?}"));
        }
        #[cfg(not(feature = "mcp"))]
        let (mcp, ask_before_tools) = ((), ());
        let tools = tool.iter().map(|path| rlm::tool_source(path)).collect::<Result<Vec<_>, _>>()?;
        let counts = (max_iterations, max_llm_calls, max_depth, max_output_chars);
        let amounts = (max_tokens, max_cost, run_timeout, cell_timeout, input);
        let sessions = (interpreter, python, image, isolation, max_message_mb, session_seed, deterministic);
        Ok(format!(
            "{model:?} {sub_model:?} {fallback:?} {sessions:?} {tools:?} {mcp:?} {ask_before_tools:?} \
             {policy:?} {profile:?} {whole_replies} {counts:?} {amounts:?} {compact_at:?}"
        ))
    }
}

/// The `Rlm` of each setting, for the first signature of the tasks. Those for the others are made of it, so
/// that sessions and connections are made once.
async fn make(
    args: &EvalArgs,
    columns: &[Column],
    tasks: &Tasks,
    shared: &mut Shared,
) -> Result<HashMap<String, Rlm>, Failure> {
    let bytes = tasks.entries().iter().map(|entry| entry.input_bytes).max().unwrap_or_default();
    let mut rlms = HashMap::new();
    let Some(signature) = tasks.signatures().first().map(instructed) else { return Ok(rlms) };
    for column in columns.iter().filter(|column| column.plain.is_none()) {
        let runs = args.concurrency as usize;
        let (builder, _) = rlm::described_with(&column.rlm, &signature, bytes, shared, runs).await?;
        let built = builder.build();
        let built = built.map_err(|error| Failure::before_run(&error).context(&column.name))?;
        rlms.insert(column.name.clone(), built);
    }
    Ok(rlms)
}

/// A signature that says what its inputs are for.
fn instructed(signature: &TaskSignature) -> TaskSignature {
    signature.clone().with_instructions(INSTRUCTIONS)
}

/// Shows a result in a line.
fn show(result: &TaskResult, over: usize, all: usize) {
    let TaskResult { task, setting, outcome, score, usage, seconds, error, .. } = result;
    let repetition = match result.repetition {
        1 => String::new(),
        repetition => format!(" ({repetition})"),
    };
    let what = match (outcome, score) {
        (Outcome::Answered, Some(score)) => format!("{score:.2}"),
        (Outcome::TooLong, _) => "too long for the model".to_owned(),
        (Outcome::Failed, _) => "no answer".to_owned(),
        (Outcome::Stopped, _) => "stopped".to_owned(),
        _ => "will be tried again".to_owned(),
    };
    let cost = usage.cost.map(|dollars| format!(", ${dollars:.4}")).unwrap_or_default();
    let error = error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    terminal::say(&format!(
        "[{over}/{all}] {task}{repetition}, {setting}: {what}{cost}, {seconds:.1} s{error}"
    ));
}
