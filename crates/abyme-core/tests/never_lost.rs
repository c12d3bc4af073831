//! Work is never lost: whatever goes wrong in the last turn of a paid run, it ends in outputs, in an extract,
//! or in an error that carries the record and says what to do.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::{
    collections::VecDeque,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use abyme_core::{
    Capabilities, CodeInterpreter, CodePolicy, Error, ErrorKind, Event, FinishReason, InterpreterFactory,
    LanguageModel, Limit, Limits, NativeCall, Prediction, Request, Response, Result, Rlm, Status, Trajectory,
    Usage, inputs, testing::ScriptedFactory,
};
use common::{cell, interpreter};

/// What the model does when it is asked.
enum Act {
    Say(Box<Response>),
    Fail(ErrorKind),
    Hang,
}

use Act::{Fail, Hang, Say};

/// Does one thing after the other, for a price.
#[derive(Clone, Debug, Default)]
struct Actor {
    acts: Arc<Mutex<VecDeque<Act>>>,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl std::fmt::Debug for Act {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Act")
    }
}

#[async_trait::async_trait]
impl LanguageModel for Actor {
    fn name(&self) -> &str {
        "actor"
    }

    fn reports_cost(&self) -> bool {
        true
    }

    async fn complete(&self, request: &Request) -> Result<Response> {
        self.requests.lock().unwrap().push(request.clone());
        let act = self.acts.lock().unwrap().pop_front();
        match act.expect("the script has an act for this request") {
            Say(response) => Ok(*response),
            Fail(kind) => Err(Error::new(kind, "no")),
            Hang => std::future::pending().await,
        }
    }
}

/// A paid reply.
fn say(text: impl Into<String>) -> Act {
    Say(Box::new(Response::new(text).usage(paid())))
}

fn paid() -> Usage {
    Usage::tokens(1_000, 100).cost(0.25)
}

fn ends(text: &str, reason: FinishReason) -> Act {
    Say(Box::new(Response::new(text).usage(paid()).finish_reason(reason)))
}

fn calls(name: &str, arguments: &str) -> Act {
    Say(Box::new(Response::new("").usage(paid()).native_call(NativeCall::new(name, arguments))))
}

fn too_long() -> Act {
    Fail(ErrorKind::ContextTooLong)
}

fn limited(seconds: Option<u64>) -> Act {
    Fail(ErrorKind::RateLimited { retry_after: seconds.map(Duration::from_secs) })
}

fn json() -> Act {
    say("{\"a\": 7}")
}

/// Opens sessions until it has opened so many.
#[derive(Debug)]
struct Few {
    inner: ScriptedFactory,
    left: Mutex<u32>,
}

#[async_trait::async_trait]
impl InterpreterFactory for Few {
    fn name(&self) -> &str {
        "few"
    }

    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    async fn create(&self) -> Result<Box<dyn CodeInterpreter>> {
        let left = {
            let mut left = self.left.lock().unwrap();
            *left = left.saturating_sub(1);
            *left
        };
        match left {
            0 => Err(Error::new(ErrorKind::Unavailable, "there is no room for another session")),
            _ => self.inner.create().await,
        }
    }
}

/// How a run has to end.
enum Expected {
    /// With the output 7, in this way.
    Output(Status),
    /// In an error of this kind, which says this.
    Failure(ErrorKind, &'static str),
}

use Expected::{Failure, Output};

const EXTRACTED: Expected = Output(Status::LimitReached(Limit::Iterations));
const OVER_TIME: Expected = Output(Status::LimitReached(Limit::Time));
const OVER_COST: Expected = Output(Status::LimitReached(Limit::Cost));

struct Case {
    name: &'static str,
    acts: Vec<Act>,
    limits: Limits,
    sessions: u32,
    expected: Expected,
}

/// A case whose last turn goes like this.
fn case(name: &'static str, acts: impl IntoIterator<Item = Act>, expected: Expected) -> Case {
    let acts = acts.into_iter().collect();
    Case { name, acts, limits: Limits::default().max_iterations(2).max_cost(10.0), sessions: 9, expected }
}

impl Case {
    fn limits(mut self, change: impl FnOnce(Limits) -> Limits) -> Self {
        self.limits = change(self.limits);
        self
    }

    fn sessions(mut self, sessions: u32) -> Self {
        self.sessions = sessions;
        self
    }

    /// Runs a first turn that finds something out, and then the last one.
    async fn run(&mut self, trace: &Path) -> Result<Prediction> {
        let first = say(cell(&format!("print {}", "found ".repeat(300))));
        let acts = std::iter::once(first).chain(self.acts.drain(..)).collect();
        let model = Actor { acts: Arc::new(Mutex::new(acts)), ..Actor::default() };
        let backend = Few { inner: interpreter().factory(), left: Mutex::new(self.sessions + 1) };
        let limits = self.limits.clone();
        let rlm = Rlm::builder("q -> a: int")
            .model(model.clone())
            .interpreter(backend)
            .policy(CodePolicy::guard_rail())
            .limits(|_| limits)
            .build()?;
        let started = tokio::time::Instant::now();
        let ended = rlm.run(inputs! { q: "?" }).trace(trace).await;
        if let Some(limit) = self.limits.run_timeout {
            // The clock stands still but for what waits.
            assert!(started.elapsed() <= limit + Duration::from_secs(1), "{}: over its time", self.name);
        }
        assert!(model.acts.lock().unwrap().is_empty(), "{}: not all of the script was played", self.name);
        for request in model.requests.lock().unwrap().iter() {
            let empty = request.messages.iter().any(|message| message.content.trim().is_empty());
            assert!(!empty, "{}: a message without content", self.name);
            let roles: Vec<_> = request.messages.iter().map(|message| message.role).collect();
            assert!(roles.windows(2).all(|pair| pair[0] != pair[1]), "{}: {roles:?}", self.name);
        }
        ended
    }
}

fn odd_replies() -> Vec<Case> {
    let markup = "<function_calls><invoke name=\"search\"><parameter name=\"q\">x y</parameter></invoke>\
                  </function_calls>";
    let cut = || ends("", FinishReason::Length);
    vec![
        case("prose", [say("It is seven."), json()], EXTRACTED),
        case("markup without code", [say(markup), json()], EXTRACTED),
        case("markup with code", [say("<execute>\nsubmit a=7\n</execute>")], Output(Status::Submitted)),
        case(
            "a native call with code",
            [calls("py", "{\"code\": \"submit a=7\"}")],
            Output(Status::Submitted),
        ),
        case("a native call without code", [calls("search", "{\"query\": \"x\"}"), json()], EXTRACTED),
        case("nothing", [say(""), json()], EXTRACTED),
        case("thoughts alone", [say("<think>hm"), json()], EXTRACTED),
        case("another language", [say("```bash\nls\n```"), json()], EXTRACTED),
        case("cut before its first word", [cut(), json()], EXTRACTED),
        case(
            "cut in its cell",
            [ends("```python\nsyntax", FinishReason::Length), say(cell("syntax")), json()],
            EXTRACTED,
        ),
        case(
            "always cut before its first word",
            [cut(), cut(), cut(), cut(), cut()],
            Failure(ErrorKind::MalformedReply, "raise its most tokens"),
        )
        .limits(|limits| limits.max_iterations(20)),
        case("a filter left nothing", [ends("", FinishReason::ContentFilter), json()], EXTRACTED),
        case("a filter refused", [Fail(ErrorKind::ContentRefused), json()], EXTRACTED),
        case(
            "a filter refused once",
            [Fail(ErrorKind::ContentRefused), say(cell("submit a=7"))],
            Output(Status::Submitted),
        )
        .limits(|limits| limits.max_iterations(3)),
        case(
            "a filter refuses again and again",
            [
                Fail(ErrorKind::ContentRefused),
                ends("", FinishReason::ContentFilter),
                Fail(ErrorKind::ContentRefused),
                json(),
            ],
            Output(Status::CutShort),
        )
        .limits(|limits| limits.max_iterations(20)),
    ]
}

fn refused_cells() -> Vec<Case> {
    vec![
        case("an exception", [say(cell("raise no")), json()], EXTRACTED),
        case("a cell that does not compile", [say(cell("syntax")), say(cell("syntax")), json()], EXTRACTED),
        case("a repaired cell", [say(cell("syntax")), say(cell("submit a=7"))], Output(Status::Submitted)),
        case("a cell that the policy refuses", [say(cell("import subprocess")), json()], EXTRACTED),
        case("a refused submission", [say(cell("submit a=many")), json()], EXTRACTED),
        case("a dead session", [say(cell("die")), json()], EXTRACTED),
        case("a session that vanished", [say(cell("vanish")), json()], EXTRACTED),
        case(
            "a cell that the backend does not take",
            [say(cell("invalid")), json()],
            Output(Status::CutShort),
        ),
        case("no other session", [say(cell("die")), json()], Output(Status::CutShort)).sessions(1),
        case(
            "sessions that die again and again",
            [say(cell("die")), say(cell("die")), say(cell("die")), json()],
            Output(Status::CutShort),
        )
        .limits(|limits| limits.max_iterations(20)),
        case(
            "no other session and no extract",
            [say(cell("die")), say("no"), say("no")],
            Failure(ErrorKind::Unavailable, "no room for another session"),
        )
        .sessions(1),
    ]
}

fn failing_providers() -> Vec<Case> {
    let submit = || say(cell("submit a=7"));
    let minute = |limits: Limits| limits.run_timeout(Duration::from_secs(100));
    vec![
        case("a rate limit with a hint", [limited(Some(60)), submit()], Output(Status::Submitted)),
        case(
            "a rate limit without a hint",
            (0..6).map(|_| limited(None)).chain([submit()]),
            Output(Status::Submitted),
        ),
        case(
            "a model that loads",
            (0..6).map(|_| Fail(ErrorKind::Server)).chain([submit()]),
            Output(Status::Submitted),
        ),
        case("a hint beyond the time for turns", [limited(Some(90)), json()], OVER_TIME).limits(minute),
        case(
            "a hint beyond the run's time",
            [limited(Some(600)), limited(Some(600))],
            Failure(ErrorKind::LimitReached, "asks to wait 600 s"),
        )
        .limits(minute),
        case(
            "a hint of a day",
            [limited(Some(86_400))],
            Failure(ErrorKind::RateLimited { retry_after: Some(Duration::from_secs(86_400)) }, "no"),
        ),
        case("the key is taken back", [Fail(ErrorKind::Auth)], Failure(ErrorKind::Auth, "no")),
        case("no credit is left", [Fail(ErrorKind::QuotaExceeded)], Failure(ErrorKind::QuotaExceeded, "no")),
        case("too long once", [too_long(), say("found it"), submit()], Output(Status::Submitted)),
        case(
            "too long, and no summary",
            [too_long(), Fail(ErrorKind::BadRequest), submit()],
            Output(Status::Submitted),
        ),
        case("too long, even for its summary", [too_long(), too_long(), submit()], Output(Status::Submitted)),
        case(
            "too long with its summary",
            [too_long(), say("found it"), too_long(), submit()],
            Output(Status::Submitted),
        ),
        case(
            "summarised, and then no outputs",
            [too_long(), say("found it"), say("seven"), json()],
            EXTRACTED,
        ),
        case(
            "always too long",
            [too_long(), too_long(), too_long(), too_long(), too_long(), too_long(), too_long()],
            Failure(ErrorKind::ContextTooLong, "no"),
        ),
    ]
}

fn used_up() -> Vec<Case> {
    let in_time = |limits: Limits| limits.run_timeout(Duration::from_secs(20));
    vec![
        case("time", [Hang, json()], OVER_TIME).limits(in_time),
        case(
            "time for the extract call too",
            [Hang, Hang],
            Failure(ErrorKind::LimitReached, "the time of 20 s is over, and the extract call failed"),
        )
        .limits(in_time),
        case(
            "time for one extract call of two",
            [Hang, say("seven"), Hang],
            Failure(ErrorKind::LimitReached, "the time of 20 s is over, and the extract call failed"),
        )
        .limits(in_time),
        case("cost", [json()], OVER_COST).limits(|limits| limits.max_cost(0.25)),
        case("cost in the last turn", [say(cell("print b")), json()], OVER_COST)
            .limits(|limits| limits.max_iterations(3).max_cost(0.5)),
        case("a cost that is not told", [Say(Box::new(Response::new(cell("print b")))), json()], OVER_COST)
            .limits(|limits| limits.max_iterations(9)),
        case("tokens", [json()], Output(Status::LimitReached(Limit::Tokens)))
            .limits(|limits| limits.max_tokens(1_000)),
    ]
}

fn extract_replies() -> Vec<Case> {
    let last = || say(cell("print b"));
    let no_outputs =
        || Failure(ErrorKind::LimitReached, "no turn is left of 2, and the model gave no outputs");
    vec![
        case("outputs in a cell", [last(), say("```python\nSUBMIT(a=7)\n```")], EXTRACTED),
        case("outputs as a program", [last(), say("x = 7\nSUBMIT(a=x)")], EXTRACTED),
        case("outputs by FINAL", [last(), say("So it is FINAL(7).")], EXTRACTED),
        case(
            "outputs in a call's markup",
            [last(), say("<tool_call>{\"name\": \"SUBMIT\", \"arguments\": {\"a\": 7}}</tool_call>")],
            EXTRACTED,
        ),
        case("a message's end", [last(), say("{\"a\": 7}<|im_end|>\n<|im_start|>user\nok")], EXTRACTED),
        case("outputs in a native call", [last(), calls("SUBMIT", "{\"a\": 7}")], EXTRACTED),
        case("nothing, then outputs", [last(), say(""), json()], EXTRACTED),
        case("prose, then outputs", [last(), say("seven"), json()], EXTRACTED),
        case("refused once", [last(), Fail(ErrorKind::ContentRefused), json()], EXTRACTED),
        case("nothing twice", [last(), say(""), say("")], no_outputs()),
        case(
            "cut twice",
            [last(), ends("", FinishReason::Length), ends("", FinishReason::Length)],
            Failure(ErrorKind::LimitReached, "raise its most tokens"),
        ),
        case(
            "refused",
            [last(), Fail(ErrorKind::ContentRefused), Fail(ErrorKind::ContentRefused)],
            Failure(ErrorKind::ContentRefused, "the extract call failed"),
        ),
    ]
}

#[tokio::test(start_paused = true)]
async fn whatever_goes_wrong_in_the_last_turn() {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("run.jsonl");
    let groups = [odd_replies(), refused_cells(), failing_providers(), used_up(), extract_replies()];
    for mut case in groups.into_iter().flatten() {
        let ended = case.run(&trace).await;
        let name = case.name;
        let record = match (&ended, case.expected) {
            (Ok(prediction), Output(status)) => {
                assert_eq!((prediction.status(), prediction.get::<i64>("a").unwrap()), (status, 7), "{name}");
                prediction.trajectory().clone()
            }
            (Err(error), Failure(kind, words)) => {
                assert_eq!(error.kind(), kind, "{name}: {error}");
                assert!(error.message().contains(words), "{name}: {error}");
                assert_tells(name, error, &trace);
                error.trajectory().unwrap().clone()
            }
            (Ok(prediction), _) => panic!("{name}: ended as {}", prediction.status()),
            (Err(error), _) => panic!("{name}: {error:?}"),
        };
        assert_complete(name, &record, &trace);
    }
}

/// The report of an error says what was done, what it cost, where the record is, and what to do.
fn assert_tells(name: &str, error: &Error, trace: &Path) {
    let report = format!("{error:?}");
    for fact in ["\n  turns: ", "\n  used: ", " tokens, $", "\n  hint: ", &trace.display().to_string()] {
        assert!(report.contains(fact), "{name}: {fact:?} is missing from {report}");
    }
}

/// The record has what was found and what it cost, and the file is the same.
fn assert_complete(name: &str, record: &Trajectory, trace: &Path) {
    let found = record.turns()[0].observation.clone().unwrap();
    assert!(found.stdout.to_string().contains("found"), "{name}");
    let usage = record.usage().unwrap();
    let failed = record.events().filter(|event| matches!(event, Event::ModelCallFailed { .. })).count();
    let answered = record.events().filter(|event| matches!(event, Event::ModelReplied { .. })).count();
    assert_eq!(usage.calls, (failed + answered) as u64, "{name}: each try is in the record and in the usage");
    assert!(usage.cost.unwrap() >= 0.25, "{name}: {usage}");
    assert_eq!(Trajectory::load(trace).unwrap().to_jsonl(), record.to_jsonl(), "{name}");
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_in_the_last_turn_closes_the_record() {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("run.jsonl");
    let start = || {
        let acts = [say(cell("print found")), Hang].into();
        let model = Actor { acts: Arc::new(Mutex::new(acts)), ..Actor::default() };
        let rlm = Rlm::builder("q -> a: int").model(model).interpreter(interpreter().factory());
        rlm.build().unwrap().run(inputs! { q: "?" }).trace(&trace)
    };

    let run = start();
    let handle = run.cancel_handle();
    let (ended, ()) = tokio::join!(run.into_future(), async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        handle.cancel();
    });
    let error = ended.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_tells("cancelled", &error, &trace);
    assert_complete("cancelled", error.trajectory().unwrap(), &trace);

    let run = start();
    let id = run.id().to_owned();
    tokio::time::timeout(Duration::from_secs(5), run).await.unwrap_err();
    // The thread that writes ends a moment after the run was dropped.
    let record = loop {
        let record = Trajectory::load(&trace).unwrap();
        if record.run() == id && record.usage().is_some() {
            break record;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert_complete("dropped", &record, &trace);
    let Some(Event::RunFailed { error, turns: 2, .. }) = record.events().last() else {
        panic!("{:?}", record.events().last())
    };
    assert_eq!(error, "the run was dropped before its end");
}
