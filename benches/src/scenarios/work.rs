//! What the scenarios share: sessions that are ready, cells whose results are checked, texts of a size.

use std::{
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Instant,
};

use abyme::{
    Cell, CodeInterpreter, Error, FunctionSpec, HostCall, HostError, HostFunctions, InterpreterFactory,
    NoHostFunctions, Observation, ParameterSpec, Scope, Text, Value,
};
use async_trait::async_trait;

use crate::{peers::Peer, trial::Trial};

/// What `prepare` answers.
pub(crate) type PreparedTrial = Result<Option<Box<dyn Trial>>, String>;

/// A system that takes part.
#[allow(clippy::unnecessary_wraps, reason = "what `prepare` answers")]
pub(crate) fn made(trial: impl Trial + 'static) -> PreparedTrial {
    Ok(Some(Box::new(trial)))
}

/// A peer's part in a scenario.
pub(crate) async fn of_peer(peer: &Peer, scenario: &'static str, at: Option<u64>) -> PreparedTrial {
    peer.trial(scenario, at).await
}

/// The names of our backends, for goals that are the same for all.
pub(crate) fn is_ours(system: &str) -> bool {
    ["wasm", "subprocess", "docker", "pyo3"].contains(&system)
}

pub(crate) fn words(error: Error) -> String {
    error.to_string()
}

pub(crate) fn seconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64()
}

/// Nothing, if both are the same.
///
/// # Errors
/// What was seen and what was expected.
pub(crate) fn check<T: PartialEq + Debug>(what: &str, seen: T, expected: T) -> Result<(), String> {
    if seen == expected { Ok(()) } else { Err(format!("{what} is {seen:?} instead of {expected:?}")) }
}

/// A session that has run a cell.
///
/// # Errors
/// It does not start.
pub(crate) async fn ready(factory: &dyn InterpreterFactory) -> Result<Box<dyn CodeInterpreter>, String> {
    let mut session = factory.create().await.map_err(words)?;
    let _ = run(&mut *session, Cell::new("1")).await?;
    Ok(session)
}

/// Runs a cell that has to succeed.
///
/// # Errors
/// The session's, or Python's.
pub(crate) async fn run(session: &mut dyn CodeInterpreter, cell: Cell) -> Result<Observation, String> {
    succeeded(session.execute(cell, &NoHostFunctions).await)
}

/// The observation of a cell that has to succeed.
///
/// # Errors
/// The session's, or Python's.
pub(crate) fn succeeded(observation: Result<Observation, Error>) -> Result<Observation, String> {
    let observation = observation.map_err(words)?;
    if observation.is_ok() {
        return Ok(observation);
    }
    let error = observation.error.map(|error| error.to_string());
    let reason = error.or(observation.session_ended).or(observation.restored);
    Err(format!("the cell failed: {}", reason.unwrap_or_else(|| "its time was up".to_owned())))
}

/// `repr` of the last expression of a cell.
///
/// # Errors
/// Those of [`run`].
pub(crate) async fn value(session: &mut dyn CodeInterpreter, cell: Cell) -> Result<String, String> {
    Ok(run(session, cell).await?.value.map(|value| value.to_string()).unwrap_or_default())
}

/// The one host function of the benchmarks: it answers what it gets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Echo;

impl Echo {
    pub(crate) fn scope() -> Arc<Scope> {
        let echo = FunctionSpec::new("echo", "Answers what it gets.").parameter(ParameterSpec::new("value"));
        Arc::new(Scope::new().function(echo))
    }
}

#[async_trait]
impl HostFunctions for Echo {
    async fn call(&self, call: HostCall) -> Result<Value, HostError> {
        Ok(call.kwargs.into_values().next().unwrap_or_default())
    }
}

/// A text that all systems of a point share. It is freed together with the last of them.
#[derive(Debug, Default)]
pub(crate) struct SharedText(Mutex<Option<(u64, Weak<Text>)>>);

impl SharedText {
    /// The text for a point, made at the first call.
    pub(crate) fn get(&self, at: u64, make: impl FnOnce() -> String) -> Arc<Text> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((point, text)) = &*slot
            && *point == at
            && let Some(text) = text.upgrade()
        {
            return text;
        }
        let text = Arc::new(Text::from(make()));
        *slot = Some((at, Arc::downgrade(&text)));
        text
    }
}

/// Lines of ASCII, a million bytes for each megabyte.
pub(crate) fn ascii(megabytes: u64) -> String {
    repeated("a line of some text, fifty characters long, or so.\n", megabytes)
}

/// Cyrillic letters without a break: two bytes each, both in UTF-8 and in Python.
pub(crate) fn cyrillic(megabytes: u64) -> String {
    repeated("строкатекстаизсорокашестибуквбезпробелов", megabytes)
}

fn repeated(line: &str, megabytes: u64) -> String {
    line.repeat(usize::try_from(megabytes).unwrap_or_default() * 1_000_000 / line.len())
}
