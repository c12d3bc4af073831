//! `abyme serve`: an OpenAI-compatible endpoint in front of a Recursive Language Model.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use abyme::{Event, EventSink, Record};
use abyme_serve::{BoundServer, Key, KeyLimits, ServeConfig, Server};
use tokio::sync::oneshot;

use crate::{
    args::{ServeArgs, ServerArgs},
    exit::{Exit, Failure},
    files,
    rlm::{self, Described},
    signals::Stop,
    standard::Standard,
    terminal, token,
};

/// The variable with the token of the only key.
const TOKEN: &str = "ABYME_SERVE_TOKEN";
/// The name of that key.
const KEY_NAME: &str = "default";
/// How long the process may take to end beyond the time that runs have.
const END_GRACE: Duration = Duration::from_secs(10);

pub(crate) async fn run(args: ServeArgs, standard: &Standard) -> Result<Exit, Failure> {
    let ServeArgs { server: args, rlm: rlm_args } = args;
    let before = |error: &abyme::Error| Failure::before_run(error);
    let written = [("--record", rlm_args.wrap.record.as_deref()), ("--usage", args.usage.as_deref())];
    files::check_written(written, rlm_args.read_files().chain(args.keys.as_deref()))?;
    let keys = keys(&args)?;
    let mut signature = abyme_serve::signature().map_err(|error| before(&error))?;
    if let Some(text) = &args.instructions {
        let all = format!("{}\n\n{text}", signature.instructions().unwrap_or_default());
        signature = signature.with_instructions(all);
    }
    let body_bytes = args.max_body_mb << 20;
    let Described { mut builder, wrapped, factory: _ } =
        rlm::described(&rlm_args, &signature, body_bytes, args.max_runs).await?;
    if rlm_args.verbose {
        builder = builder.on_event(RunLog::default());
    }
    let rlm = builder.build().map_err(|error| before(&error))?;
    let mut config = ServeConfig::default()
        .max_runs(args.max_runs)
        .max_queued(args.max_queued)
        .max_body_bytes(body_bytes)
        .shutdown_grace(args.shutdown_grace)
        .reasoning(!args.no_reasoning);
    // One request of the largest size always has room.
    config.max_total_body_bytes = config.max_total_body_bytes.max(body_bytes);
    (config.trace_dir, config.usage_file) = (args.traces.clone(), args.usage.clone());
    let server = Server::new(&args.name, rlm).config(config);
    let server = if args.no_token { server.without_keys() } else { server.keys(keys) };
    let bound = server.bind(args.listen).await.map_err(|error| before(&error))?;
    if !bound.address().ip().is_loopback() {
        terminal::say(
            "abyme: warning: requests from other machines come over the network as they are, tokens too; put \
             a proxy with TLS before this server",
        );
    }
    let exit = serve(bound, &args, standard).await?;
    wrapped.finish_replay()?;
    wrapped.finish_recording()?;
    Ok(exit)
}

/// Serves until a signal, and lets runs at work end. A second signal ends at once.
async fn serve(bound: BoundServer, args: &ServerArgs, standard: &Standard) -> Result<Exit, Failure> {
    let mut stop = Stop::listen_until(|_| true, args.shutdown_grace.saturating_add(END_GRACE))?;
    // A program that reads the address may send a signal at once.
    standard.write(&format!("{}\n", bound.url()))?;
    let (sender, told) = oneshot::channel::<()>();
    let mut served = pin!(bound.serve(async { drop(told.await) }));
    tokio::select! {
        ended = &mut served => return Ok(ended.map(|()| Exit::Ok)?),
        _ = stop.received() => {}
    }
    terminal::say("abyme: no new requests; runs at work come to their end; a second signal ends them");
    // The receiver is in the future that is polled below.
    sender.send(()).ok();
    tokio::select! {
        ended = &mut served => Ok(ended.map(|()| Exit::Ok)?),
        exit = stop.received() => Err(Failure::quiet(exit)),
    }
}

/// The keys of the file, or the one of the environment.
fn keys(args: &ServerArgs) -> Result<Vec<Key>, Failure> {
    let given = &args.key_limits;
    let limits = KeyLimits::default()
        .max_concurrent(given.key_requests)
        .requests_per_minute(given.key_rpm)
        .max_tokens_per_day(given.key_tokens)
        .max_cost_per_day(given.key_cost);
    if args.no_token {
        return Ok(Vec::new());
    }
    if let Some(path) = &args.keys {
        let keys = Key::load(path, &limits).map_err(|error| Failure::before_run(&error).context("--keys"))?;
        warn_of_readers(path);
        return Ok(keys);
    }
    let token = token::given(TOKEN)?.ok_or_else(|| {
        Failure::usage("no token, and without one anybody could use the server").hint(format!(
            "set {TOKEN}, such as to the output of `openssl rand -hex 32`; or --keys FILE.json; or \
             --no-token for the programs of this machine alone"
        ))
    })?;
    let key = Key::new(KEY_NAME, &token).map_err(|error| Failure::before_run(&error).context(TOKEN))?;
    Ok(vec![key.limits(limits).reads_metrics(true)])
}

/// Says that others can read the tokens.
fn warn_of_readers(path: &Path) {
    let mode = fs::metadata(path).map(|file| file.permissions().mode());
    if mode.is_ok_and(|mode| mode & 0o077 != 0) {
        let path = path.display();
        terminal::say(&format!(
            "abyme: warning: other users of this machine can read the tokens in {path}: `chmod 600 {path}`"
        ));
    }
}

/// A line on stderr for each run that begins and ends.
#[derive(Debug, Default)]
struct RunLog {
    /// The labels of the runs at work; children have none.
    runs: Mutex<HashMap<String, String>>,
}

impl EventSink for RunLog {
    fn record(&self, record: &Arc<Record>) {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let line = match &record.event {
            Event::RunStarted { parent: None, label, .. } => {
                let label = label.clone().unwrap_or_default();
                runs.insert(record.run.clone(), label);
                "began".to_owned()
            }
            Event::RunFinished { status, usage, turns, .. } => {
                format!("{status} after {:.1} s, {turns} turns, {usage}", record.at)
            }
            Event::RunFailed { error, usage, turns, .. } => {
                format!("failed after {:.1} s, {turns} turns, {usage}: {error}", record.at)
            }
            _ => return,
        };
        let is_over = !matches!(record.event, Event::RunStarted { .. });
        let label = if is_over { runs.remove(&record.run) } else { runs.get(&record.run).cloned() };
        drop(runs);
        // Not that of a child, and not the one that the server checked itself with.
        if let Some(label) = label.filter(|label| !label.is_empty()) {
            terminal::say(&format!("run {} of {label}: {line}", record.run));
        }
    }
}
