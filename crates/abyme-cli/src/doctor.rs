//! `abyme doctor`: what works on this machine, and how to get the rest.

mod advice;
mod report;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use abyme::{
    CodeInterpreter, Error, ErrorKind, InterpreterFactory, LanguageModel, LanguageModelExt, Request, Result,
    RetryPolicy, Session,
};

use self::{
    advice::Problem,
    report::{Backend, Health, ModelState, Report},
};
use crate::{
    args::DoctorArgs,
    backend::{self, COMPILED, PAID, Settings},
    exit::{Exit, Failure},
    models,
    signals::{CLEAN_UP_GRACE, unless_stopped},
    standard::Standard,
};

/// The cell that each backend runs.
const CELL: &str = "import sys; print(sys.executable); print(sys.version.split()[0])";
const CELL_TIMEOUT: Duration = Duration::from_secs(30);
/// The time limit of a model's answer, with all tries.
const CHECK_TIMEOUT: Duration = Duration::from_secs(30);
/// Enough for models that think before they speak.
const REPLY_TOKENS: u32 = 512;

pub(crate) async fn run(args: DoctorArgs, standard: &Standard) -> std::result::Result<Exit, Failure> {
    let report = unless_stopped(examine(&args), CLEAN_UP_GRACE).await??;
    standard.write(&if args.json { report.json() } else { report.text() })?;
    let works = report.backends.iter().any(|backend| backend.health.is_ok());
    Ok(match &report.model.check {
        _ if !works => Exit::Unavailable,
        Some(Err(_)) => Exit::Model,
        _ => Exit::Ok,
    })
}

async fn examine(args: &DoctorArgs) -> std::result::Result<Report, Failure> {
    let mut backends = Vec::new();
    let mut not_tried = Vec::new();
    let names = match &args.interpreter {
        Some(name) => vec![name.as_str()],
        None => COMPILED.to_vec(),
    };
    for name in names {
        if let (None, Some(paid)) = (&args.interpreter, PAID.iter().find(|(paid, _)| *paid == name)) {
            not_tried.push(*paid);
            continue;
        }
        let settings = match name {
            "subprocess" => {
                Settings { python: args.python.clone(), isolation: args.isolation, ..Settings::default() }
            }
            "docker" | "modal" => Settings { image: args.image.clone(), ..Settings::default() },
            _ => Settings::default(),
        };
        for (engine, factory) in factories(name, &settings).await? {
            backends.push(Backend {
                name: name.to_owned(),
                engine,
                capabilities: factory.capabilities().clone(),
                // The state from before the trial: the trial fills the cache.
                cache: (name == "wasm").then(|| backend::wasm(&settings).cache_state().ok()).flatten(),
                health: try_out(&*factory).await.map_err(|error| error.to_string()),
            });
        }
    }
    Ok(Report { backends, not_tried, model: model(args).await })
}

type Factory = Arc<dyn InterpreterFactory>;

/// What is tried of a backend: one factory, or one for each of several Docker engines, with its address.
async fn factories(
    name: &str,
    settings: &Settings,
) -> std::result::Result<Vec<(Option<String>, Factory)>, Failure> {
    #[cfg(feature = "docker")]
    if name == "docker" {
        // The doctor reports what is there; it downloads nothing.
        let docker = backend::docker(settings, abyme::docker::Pull::Never);
        let addresses = docker.addresses().await.unwrap_or_default();
        if addresses.len() > 1 {
            let only = |address: String| -> (_, Factory) {
                (Some(address.clone()), Arc::new(docker.clone().hosts([address])))
            };
            return Ok(addresses.into_iter().map(only).collect());
        }
        return Ok(vec![(None, Arc::new(docker))]);
    }
    Ok(vec![(None, backend::factory(name, settings)?)])
}

/// Runs a real cell.
async fn try_out(factory: &dyn InterpreterFactory) -> Result<Health> {
    let started = Instant::now();
    let mut session = Session::new(factory.create().await?).cell_timeout(CELL_TIMEOUT);
    let observation = session.run_code(CELL).await?;
    let first = started.elapsed();
    session.shutdown().await?;
    // The first start looks for Python and compiles the driver; later ones of the same process do not.
    let started = Instant::now();
    let mut second = Session::new(factory.create().await?).cell_timeout(CELL_TIMEOUT);
    second.run_code("pass").await?.check()?;
    let later = started.elapsed();
    second.shutdown().await?;
    let stdout = observation.stdout.to_string();
    let mut lines = stdout.lines().map(str::to_owned);
    Ok(Health {
        python: lines.next().unwrap_or_default(),
        version: lines.next().unwrap_or_default(),
        first,
        later,
    })
}

async fn model(args: &DoctorArgs) -> ModelState {
    let name = args.model.model.as_deref();
    let chosen = match models::model(name, &args.model) {
        Ok(chosen) => chosen,
        Err(error) => return ModelState::problem(error.to_string()),
    };
    let mut model = ModelState {
        name: Some(chosen.name().to_owned()),
        source: Some(models::source(name)),
        host: chosen.host().map(str::to_owned),
        key: chosen.has_api_key(),
        problem: None,
        check: None,
    };
    match chosen.check() {
        Ok(()) if args.check_model => {
            model.check = Some(match ask(chosen.clone().shared()).await {
                Ok(time) => Ok(time),
                Err(error) => {
                    let explained = Problem::explained(&error, &chosen);
                    let explained = tokio::time::timeout(CHECK_TIMEOUT, explained).await;
                    Err(explained.unwrap_or_else(|_| Problem::of(error.to_string())))
                }
            });
        }
        Ok(()) => {}
        Err(error) => model.problem = Some(error.to_string()),
    }
    model
}

/// One tiny request.
async fn ask(model: Arc<dyn LanguageModel>) -> Result<Duration> {
    let started = Instant::now();
    // A pause that would be the end of the time is no help: what the provider said is.
    let policy = RetryPolicy::default().max_retries(3).max_requested_backoff(CHECK_TIMEOUT / 3);
    let model = model.with_retry(policy);
    let request = Request::prompt("Reply with the word: ok").max_tokens(REPLY_TOKENS).timeout(CHECK_TIMEOUT);
    match tokio::time::timeout(CHECK_TIMEOUT, model.complete(&request)).await {
        Ok(answer) => answer.map(|_| started.elapsed()),
        Err(_) => {
            let message = format!("no answer within {} s", CHECK_TIMEOUT.as_secs());
            Err(Error::new(ErrorKind::ModelTimeout, message))
        }
    }
}
