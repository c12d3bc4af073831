//! What the doctor found, for people and for programs.

use std::{fmt::Write, time::Duration};

use abyme::{Access, Capabilities, Isolation, Value, wasm::CacheState};

use super::advice::Problem;
use crate::{backend::LEFT_OUT, json, terminal::escape};

/// The most models of a server that are named to people.
const SHOWN_MODELS: usize = 10;

/// What was found.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) backends: Vec<Backend>,
    /// What was not tried because it costs money, with what it costs.
    pub(super) not_tried: Vec<(&'static str, &'static str)>,
    pub(super) model: ModelState,
}

/// A backend that is compiled in.
#[derive(Debug)]
pub(super) struct Backend {
    pub(super) name: String,
    /// The address of the engine that was tried, where there are several.
    pub(super) engine: Option<String>,
    pub(super) capabilities: Capabilities,
    /// The prepared interpreter on disk, for a backend that has one.
    pub(super) cache: Option<CacheState>,
    /// The result of a session, or why none ran.
    pub(super) health: Result<Health, String>,
}

/// A backend that works.
#[derive(Debug)]
pub(super) struct Health {
    pub(super) python: String,
    pub(super) version: String,
    /// Time to the end of the first session's first cell.
    pub(super) first: Duration,
    /// Time to the end of the next session's first cell.
    pub(super) later: Duration,
}

/// The model that is configured. A key is there or not; it is never shown.
#[derive(Debug, Default)]
pub(super) struct ModelState {
    pub(super) name: Option<String>,
    pub(super) source: Option<String>,
    pub(super) host: Option<String>,
    pub(super) key: bool,
    /// Why it cannot be asked.
    pub(super) problem: Option<String>,
    /// The result of a call.
    pub(super) check: Option<Result<Duration, Problem>>,
}

impl ModelState {
    pub(super) fn problem(problem: String) -> Self {
        Self { problem: Some(problem), ..Self::default() }
    }
}

impl Report {
    /// For people.
    pub(super) fn text(&self) -> String {
        let mut text = String::from("Interpreters\n");
        for backend in &self.backends {
            backend.describe(&mut text);
        }
        for (name, cost) in &self.not_tried {
            let how = format!("`abyme doctor --interpreter {name}` does ({cost})");
            let _ = writeln!(text, "  -   {name:<11} not tried: {how}");
        }
        for (name, how) in LEFT_OUT {
            let _ = writeln!(text, "  -   {name:<11} not in this `abyme`: {how}");
        }
        text.push_str("\nModel\n");
        self.model.describe(&mut text);
        escape(&text).into_owned()
    }

    /// For programs: one object on one line.
    pub(super) fn json(&self) -> String {
        let left_out: Vec<_> = LEFT_OUT.iter().map(|(name, _)| *name).collect();
        let object = Value::dict([
            ("backends", Value::list(self.backends.iter().map(Backend::value))),
            ("not_tried", Value::list(self.not_tried.iter().map(|(name, _)| *name))),
            ("left_out", Value::list(left_out)),
            ("model", self.model.value()),
        ]);
        format!("{}\n", json::strict(&object))
    }
}

impl Backend {
    // Writing to a String cannot fail.
    fn describe(&self, text: &mut String) {
        let name = &self.name;
        match &self.health {
            Ok(health) => {
                let place = match health.python.as_str() {
                    "" => "(embedded)".to_owned(),
                    path => format!("at {path}"),
                };
                let engine = self.engine.as_ref().map_or_else(String::new, |engine| format!(" on {engine}"));
                let _ = writeln!(text, "  ok  {name:<11} Python {} {place}{engine}", health.version);
                let _ = writeln!(
                    text,
                    "      {:<11} first cell after {:.1} ms, in later sessions {:.1} ms",
                    "",
                    health.first.as_secs_f64() * 1e3,
                    health.later.as_secs_f64() * 1e3
                );
            }
            Err(problem) => {
                let engine = self.engine.as_ref().filter(|engine| !problem.contains(engine.as_str()));
                let engine = engine.map_or_else(String::new, |engine| format!("{engine}: "));
                let _ = writeln!(text, "  NO  {name:<11} {engine}{problem}");
            }
        }
        if let Some(cache) = &self.cache {
            let _ = writeln!(text, "      {:<11} {}", "", cached(cache));
        }
        let caps = &self.capabilities;
        let memory = match caps.memory_limit_bytes {
            Some(bytes) => format!("{} MB at most", bytes >> 20),
            None => "not limited".to_owned(),
        };
        let _ = writeln!(
            text,
            "      {:<11} isolation: {}; network {}; files {}; environment {}; memory {memory}",
            "",
            isolation(caps.isolation),
            access(caps.network),
            access(caps.host_files),
            access(caps.environment),
        );
        if !caps.guarantees.is_empty() {
            let _ = writeln!(text, "      {:<11} keeps: {}", "", kept(caps));
        }
    }

    fn value(&self) -> Value {
        let caps = &self.capabilities;
        let mut fields: Vec<(&str, Value)> =
            vec![("name", self.name.as_str().into()), ("works", self.health.is_ok().into())];
        fields.extend(self.engine.as_deref().map(|engine| ("engine", Value::from(engine))));
        match &self.health {
            Ok(health) => fields.extend([
                (
                    "python",
                    if health.python.is_empty() { Value::None } else { health.python.as_str().into() },
                ),
                ("version", health.version.as_str().into()),
                ("first_cell_seconds", seconds(health.first)),
                ("later_cell_seconds", seconds(health.later)),
            ]),
            Err(problem) => fields.push(("problem", problem.as_str().into())),
        }
        if let Some(cache) = &self.cache {
            let path = cache.path.as_ref().map(|path| path.display().to_string());
            fields.push((
                "cache",
                Value::dict([
                    ("ready", cache.ready.into()),
                    ("path", path.map_or(Value::None, Value::from)),
                    ("bytes", Value::from(cache.bytes)),
                    ("problem", cache.problem.as_deref().map_or(Value::None, Value::from)),
                ]),
            ));
        }
        let memory = caps.memory_limit_bytes.map_or(Value::None, Value::from);
        fields.extend([
            ("isolation", isolation(caps.isolation).into()),
            ("network", access(caps.network).into()),
            ("files", access(caps.host_files).into()),
            ("environment", access(caps.environment).into()),
            ("memory_limit_bytes", memory),
            (
                "guarantees",
                Value::dict(caps.guarantees.iter().map(|(name, by)| (name.to_string(), by.as_str()))),
            ),
        ]);
        Value::dict(fields)
    }
}

impl ModelState {
    fn describe(&self, text: &mut String) {
        let answers = !matches!(self.check, Some(Err(_)));
        let ok = if self.problem.is_none() && answers { "ok" } else { "NO" };
        if let Some(name) = &self.name {
            let source = self.source.as_deref().unwrap_or("the environment");
            let _ = writeln!(text, "  {ok}  {name} (from {source})");
            let host = self.host.as_deref().unwrap_or("unknown");
            let key = if self.key { "there is one" } else { "none" };
            let _ = writeln!(text, "      host: {host}; key: {key}");
        }
        if let Some(problem) = &self.problem {
            let _ = writeln!(text, "  {}  {problem}", if self.name.is_some() { "  " } else { ok });
        }
        match &self.check {
            Some(Ok(time)) => {
                let _ = writeln!(text, "      asked: it answered after {:.2} s", time.as_secs_f64());
            }
            Some(Err(problem)) => {
                let Problem { message, advice, models } = problem;
                let _ = writeln!(text, "      asked: {message}");
                if !advice.is_empty() {
                    let _ = writeln!(text, "      {advice}");
                }
                if !models.is_empty() {
                    let shown = models[..models.len().min(SHOWN_MODELS)].join(", ");
                    let more = match models.len().saturating_sub(SHOWN_MODELS) {
                        0 => String::new(),
                        more => format!(", and {more} more (all of them with --json)"),
                    };
                    let _ = writeln!(text, "      it has: {shown}{more}");
                }
            }
            None if self.problem.is_none() => {
                text.push_str("      not asked: `abyme doctor --check-model` does\n")
            }
            None => {}
        }
    }

    fn value(&self) -> Value {
        let text = |text: &Option<String>| text.as_deref().map_or(Value::None, Value::from);
        let mut fields = vec![
            ("configured", self.problem.is_none().into()),
            ("name", text(&self.name)),
            ("source", text(&self.source)),
            ("host", text(&self.host)),
            ("key", self.key.into()),
            ("problem", text(&self.problem)),
        ];
        match &self.check {
            Some(Ok(time)) => fields.extend([("answers", true.into()), ("answer_seconds", seconds(*time))]),
            Some(Err(problem)) => {
                let models = problem.models.iter().map(String::as_str);
                fields.extend([
                    ("answers", false.into()),
                    ("answer_problem", problem.message.as_str().into()),
                    ("advice", problem.advice.as_str().into()),
                    ("available_models", Value::list(models)),
                ]);
            }
            None => {}
        }
        Value::dict(fields)
    }
}

/// The state of the cache before the check.
fn cached(cache: &CacheState) -> String {
    let path = cache.path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    match (&cache.problem, cache.ready) {
        (Some(problem), _) => format!("cache: cannot be used: {problem}"),
        (None, true) => format!("cache: ready, {} MB in {path}", cache.bytes >> 20),
        (None, false) => format!("cache: was empty; filled now, or ahead by `abyme prepare`: {path}"),
    }
}

fn seconds(time: Duration) -> Value {
    ((time.as_secs_f64() * 1e6).round() / 1e6).into()
}

fn isolation(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::None => "none",
        Isolation::Process => "process",
        Isolation::Container => "container",
        Isolation::Wasm => "wasm",
        Isolation::Machine => "machine",
        _ => "other",
    }
}

/// What is guaranteed, each with what it is held by.
fn kept(caps: &Capabilities) -> String {
    let kept = caps.guarantees.iter().map(|(name, by)| format!("{name} ({by})"));
    kept.collect::<Vec<_>>().join(", ")
}

fn access(access: Access) -> &'static str {
    match access {
        Access::Denied => "denied",
        Access::AllowList => "allow-list",
        Access::Open => "open",
        _ => "other",
    }
}
