//! Runs that go on from their record: cut at every event, they end as if they had never ended.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use abyme_core::{
    Capabilities, Captured, Cell, CodeInterpreter, EffectDecision, Error, ErrorKind, Event, HostCall,
    HostError, HostFunctions, InterpreterFactory, Isolation, Observation, ParameterSpec, Prediction,
    PythonError, Record, Request, Response, Result, Rlm, RlmBuilder, Stage, Status, Submission, Tool,
    Trajectory, Usage, Value, Via, inputs, testing::ScriptedModel,
};

/// A session that remembers, and whose cells call the host. Each line of a cell is a word and its argument.
#[derive(Debug)]
struct Words {
    capabilities: Capabilities,
    kept: Vec<String>,
    ended: bool,
}

#[derive(Clone, Debug)]
struct WordsFactory {
    capabilities: Capabilities,
    /// The cells that ran, in all sessions.
    cells: Arc<Mutex<Vec<String>>>,
    /// What `clock` prints next.
    ticks: Arc<AtomicU32>,
    sessions: Arc<AtomicU32>,
}

#[derive(Debug)]
struct Counted {
    words: Words,
    factory: WordsFactory,
}

impl WordsFactory {
    fn new() -> Self {
        let capabilities = Capabilities::new(Isolation::None);
        Self { capabilities, cells: Arc::default(), ticks: Arc::default(), sessions: Arc::default() }
    }
}

#[async_trait::async_trait]
impl InterpreterFactory for WordsFactory {
    fn name(&self) -> &str {
        "words"
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn create(&self) -> Result<Box<dyn CodeInterpreter>> {
        self.sessions.fetch_add(1, Ordering::Relaxed);
        let words = Words { capabilities: self.capabilities.clone(), kept: Vec::new(), ended: false };
        Ok(Box::new(Counted { words, factory: self.clone() }))
    }
}

#[async_trait::async_trait]
impl CodeInterpreter for Counted {
    fn capabilities(&self) -> &Capabilities {
        &self.words.capabilities
    }

    async fn start(&mut self) -> Result<()> {
        match self.words.ended {
            true => Err(Error::new(ErrorKind::SessionEnded, "the session has ended")),
            false => Ok(()),
        }
    }

    async fn execute(&mut self, cell: Cell, host: &dyn HostFunctions) -> Result<Observation> {
        self.start().await?;
        if !cell.code.is_empty() {
            self.factory.cells.lock().unwrap().push(cell.code.clone());
        }
        let mut seen = Observation::default();
        let mut out = String::new();
        for line in cell.code.lines() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let many = || Value::list(rest.split('|'));
            let call = match word {
                "ask" => HostCall::new("llm_query").argument("prompt", rest),
                "batch" => HostCall::new("llm_query_batched").argument("prompts", many()),
                "child" => HostCall::new("rlm_query").argument("prompt", rest).argument("context", "text"),
                "children" => HostCall::new("rlm_query_batched").argument("prompts", many()),
                "tool" => HostCall::new("look").argument("text", rest),
                "budget" => HostCall::new("budget"),
                "keep" => {
                    self.words.kept.push(rest.to_owned());
                    continue;
                }
                "show" => {
                    out.push_str(&format!("kept: {}\n", self.words.kept.join(",")));
                    continue;
                }
                "clock" => {
                    out.push_str(&format!("{}\n", self.factory.ticks.fetch_add(1, Ordering::Relaxed)));
                    continue;
                }
                "syntax" => {
                    let error = PythonError::new("SyntaxError", "invalid syntax").stage(Stage::Compile);
                    seen.error = Some(error.line(1));
                    break;
                }
                "die" => {
                    self.words.ended = true;
                    seen.session_ended = Some("the interpreter exited with code 3".into());
                    break;
                }
                "submit" => {
                    let fields = rest.split(';').filter_map(|pair| pair.split_once('='));
                    let fields = fields.map(|(name, text)| (name.to_owned(), text.into())).collect();
                    seen.submission = Some(Submission::fields(Via::Submit, fields));
                    continue;
                }
                other => {
                    out.push_str(&format!("{other}\n"));
                    continue;
                }
            };
            let result = host.call(call).await;
            let text = match &result {
                Ok(value) => value.repr(10_000),
                Err(error) => error.to_string(),
            };
            self.words.kept.push(text.clone());
            out.push_str(&format!("{text}\n"));
        }
        seen.stdout = Captured::whole(out);
        Ok(seen)
    }

    async fn shutdown(&mut self) -> Result<()> {
        self.words.ended = true;
        Ok(())
    }
}

/// Replies to the root by how often it replied, to children by their task, and to prompts by their text.
fn model(root: &'static [&'static str]) -> ScriptedModel {
    ScriptedModel::from_fn(move |request: &Request| {
        let said = request.messages.iter().filter(|message| message.role == abyme_core::Role::Assistant);
        let turn = said.count();
        let text = |text: String| Response::new(text).usage(Usage::tokens(10, 2).cost(0.25));
        let first = &request.messages[0].content;
        if request.messages.len() == 1 {
            return match first.as_str() {
                "refused" => Err(Error::new(ErrorKind::ContentRefused, "not this one")),
                prompt => Ok(text(format!("re: {prompt}"))),
            };
        }
        let task = &request.messages.iter().rev().find(|message| message.content.contains("child-"));
        let is_child = task.is_some() && !request.messages.iter().any(|one| one.content.contains("ROOT"));
        let replies = match is_child {
            true => &[
                "```python\nask of the child\nchild child-below\n```",
                "```python\nshow\n```",
                "```python\nsubmit answer=grown\n```",
            ][..],
            false => root,
        };
        match replies.get(turn) {
            Some(reply) => Ok(text((*reply).to_owned())),
            None => Err(Error::new(ErrorKind::BadRequest, "the script has no reply left")),
        }
    })
}

const SCRIPT: &[&str] = &[
    "```python\nkeep one\nask first\nask first\nbatch a|b|refused\ntool x\n```",
    "no code in this",
    "```python\nsyntax\n```",
    "```python\nchildren child-1|child-2\nask after\nbudget\nshow\n```",
    "```python\nsubmit answer=many\n```",
    "```python\ndie\n```",
    "```python\nkeep two\ntool y\nshow\n```",
    "```python\nask again\nchild child-3\nshow\nsubmit answer=42\n```",
];

fn tool(calls: &Arc<Mutex<Vec<String>>>) -> Tool {
    let calls = calls.clone();
    Tool::from_parts("look", "Looks.", vec![ParameterSpec::new("text").annotation("str")], move |arguments| {
        let text = arguments["text"].to_string_lossy();
        calls.lock().unwrap().push(text.clone());
        async move {
            match text.as_str() {
                "y" => Err(HostError::value_error("nothing is there")),
                text => Ok(Value::from(format!("seen {text}"))),
            }
        }
    })
}

trait Lossy {
    fn to_string_lossy(&self) -> String;
}

impl Lossy for Value {
    fn to_string_lossy(&self) -> String {
        match self {
            Value::Text(text) => text.as_str().to_owned(),
            other => other.repr(100),
        }
    }
}

struct Set {
    rlm: Rlm,
    model: ScriptedModel,
    factory: WordsFactory,
    tools: Arc<Mutex<Vec<String>>>,
}

fn set(script: &'static [&'static str], change: impl FnOnce(RlmBuilder) -> RlmBuilder) -> Set {
    let (model, factory, tools) = (model(script), WordsFactory::new(), Arc::default());
    let rlm = Rlm::builder("docs -> answer: int").instructions("ROOT").model(model.clone());
    let rlm = rlm.interpreter(factory.clone()).tool(tool(&tools));
    let rlm = rlm.limits(|limits| limits.max_depth(2).max_cost(1_000.0).run_timeout(None));
    Set { rlm: change(rlm).build().unwrap(), model, factory, tools }
}

fn unbroken(set: &Set) -> impl Future<Output = Result<Prediction>> {
    set.rlm.run(inputs! { docs: "some text" }).into_future()
}

fn cut(trajectory: &Trajectory, records: usize) -> Trajectory {
    trajectory.records().take(records).cloned().collect()
}

/// The events of a run without what differs between two runs of the same: ids, numbers of calls, times, and
/// what says that it went on.
fn events(trajectory: &Trajectory) -> Vec<String> {
    let mut names = BTreeMap::from([(trajectory.run().to_owned(), "root".to_owned())]);
    for record in trajectory.records() {
        if let Event::ChildStarted { child, prompt, .. } = &record.event {
            names.insert(child.clone(), format!("{} > {prompt}", names[&record.run]));
        }
    }
    let ended: Vec<_> = trajectory
        .records()
        .filter_map(|record| match &record.event {
            Event::SubCallFinished { call, .. } | Event::ToolCallFinished { call, .. } => {
                Some((record.run.clone(), *call))
            }
            _ => None,
        })
        .collect();
    // A call that had begun when the run was cut is begun again, under another number.
    let is_said = |record: &&Record| match &record.event {
        Event::RunResumed { .. } | Event::SessionRebuilt { .. } => false,
        Event::SubCallStarted { call, .. } | Event::ToolCallStarted { call, .. } => {
            ended.contains(&(record.run.clone(), *call))
        }
        _ => true,
    };
    let mut events: Vec<_> = trajectory
        .records()
        .filter(is_said)
        .map(|record| {
            let mut json = serde_json::to_value(record).unwrap();
            let object = json.as_object_mut().unwrap();
            for key in ["at", "seconds", "unix_ms", "call", "calls", "answered_by", "child", "parent", "seed"]
            {
                object.remove(key);
            }
            object.insert("run".into(), names[&record.run].clone().into());
            // What is left for a child depends on what others of its tree do at the same time.
            if let Event::MessageAppended { message, .. } = &record.event
                && record.run != trajectory.run()
            {
                let left = |line: &&str| line.starts_with("(turn ");
                let said: Vec<_> = message.content.lines().filter(|line| !left(line)).collect();
                object.insert("message".into(), said.join("\n").into());
            }
            if let Some(seen) = object.get_mut("observation").and_then(|seen| seen.as_object_mut()) {
                seen.remove("seconds");
            }
            json.to_string()
        })
        .collect();
    events.sort();
    events
}

/// How many calls of models are in a record with an end, and how many of tools.
fn answered(trajectory: &Trajectory) -> (usize, usize) {
    let models = trajectory.events().filter(|event| match event {
        Event::ModelReplied { .. } => true,
        Event::ModelCallFailed { .. } => true,
        Event::SubCallFinished { answered_by: None, usage, .. } => usage.calls > 0,
        _ => false,
    });
    let tools = trajectory.events().filter(|event| matches!(event, Event::ToolCallFinished { .. }));
    (models.count(), tools.count())
}

#[tokio::test]
async fn a_run_that_was_cut_at_any_event_ends_as_if_it_had_not_been() {
    let whole = set(SCRIPT, |rlm| rlm);
    let expected = unbroken(&whole).await.unwrap();
    assert_eq!(expected.get::<i64>("answer").unwrap(), 42);
    let record = expected.trajectory();
    let (models, tools) = answered(record);
    assert_eq!((models, tools), (whole.model.requests().len(), whole.tools.lock().unwrap().len()));
    let total = record.records().count();
    assert!(total > 150, "{total} events are enough to cut at");
    for records in 1..=total {
        let what = || format!("cut after {records} of {total}: {:?}", record.records().nth(records - 1));
        let begun = cut(record, records);
        let again = set(SCRIPT, |rlm| rlm);
        let resumed = again.rlm.resume_from(begun.clone()).await.unwrap_or_else(|error| {
            panic!("{}\n{error:?}", what());
        });
        assert_eq!(resumed.outputs(), expected.outputs(), "{}", what());
        assert_eq!(resumed.status(), expected.status());
        assert_eq!(resumed.usage(), expected.usage(), "{}", what());
        assert_eq!(resumed.trajectory().run(), record.run());
        assert_eq!(resumed.trajectory().ledger().total, *expected.usage(), "{}", what());
        let (had, used) = answered(&begun);
        assert_eq!(again.model.requests().len(), models - had, "model calls, {}", what());
        assert_eq!(again.tools.lock().unwrap().len(), tools - used, "tool calls, {}", what());
        pretty_assert(&events(resumed.trajectory()), &events(record), &what());
        if records == total {
            assert_eq!(
                again.factory.sessions.load(Ordering::Relaxed),
                0,
                "a run that ended needs no session"
            );
        } else if records % 7 == 0 {
            // A resume of a resume, cut half way between its going on and its end.
            let all = resumed.trajectory().records().count();
            let begun = cut(resumed.trajectory(), usize::midpoint(records, all));
            let third = set(SCRIPT, |rlm| rlm);
            let twice = third.rlm.resume_from(begun.clone()).await.unwrap();
            assert_eq!((twice.outputs(), twice.usage()), (expected.outputs(), expected.usage()));
            assert_eq!(third.model.requests().len(), models - answered(&begun).0, "{}", what());
            pretty_assert(&events(twice.trajectory()), &events(record), &what());
        }
    }
}

fn pretty_assert(now: &[String], expected: &[String], what: &str) {
    let missing: Vec<_> = expected.iter().filter(|event| !now.contains(event)).collect();
    let more: Vec<_> = now.iter().filter(|event| !expected.contains(event)).collect();
    assert!(missing.is_empty() && more.is_empty(), "{what}\nmissing: {missing:#?}\nmore: {more:#?}");
    assert_eq!(now.len(), expected.len(), "{what}");
}

#[tokio::test]
async fn what_failed_is_asked_again_and_what_led_elsewhere_is_not() {
    let failures = Arc::new(AtomicU32::new(0));
    let inner = model(&["```python\nkeep one\n```", "```python\nshow\nsubmit answer=1\n```"]);
    let root = |fails: u32| {
        let (inner, failures) = (inner.clone(), failures.clone());
        ScriptedModel::from_fn(move |request| {
            let is_second = request.messages.len() > 3;
            if is_second && failures.fetch_add(1, Ordering::Relaxed) < fails {
                return Err(Error::new(ErrorKind::QuotaExceeded, "no credit").with_usage(Usage::tokens(1, 0)));
            }
            futures_util::FutureExt::now_or_never(abyme_core::LanguageModel::complete(&inner, request))
                .unwrap()
        })
    };
    let rlm = |fails| {
        let rlm = Rlm::builder("docs -> answer: int").instructions("ROOT").model(root(fails));
        rlm.interpreter(WordsFactory::new()).build().unwrap()
    };
    let error = rlm(1).run(inputs! { docs: "d" }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
    let begun = error.trajectory().unwrap().clone();
    let prediction = rlm(1).resume_from(begun).await.unwrap();
    assert_eq!(prediction.get::<i64>("answer").unwrap(), 1);
    assert_eq!(prediction.usage().calls, 3, "the call that failed counts too");
    assert_eq!(prediction.trajectory().ledger().total, *prediction.usage());
    assert_eq!(prediction.trajectory().usage(), Some(prediction.usage()));
    let seen = prediction.trajectory().turns()[1].observation.clone().unwrap();
    assert_eq!(seen.stdout.to_string(), "kept: one\n", "the session was brought up to date");
}

#[tokio::test]
async fn higher_limits_lead_beyond_a_run_that_ended_by_them() {
    const REPLIES: &[&str] =
        &["```python\nkeep one\n```", "{}", "{}", "```python\nshow\nsubmit answer=1\n```"];
    let first = set(REPLIES, |rlm| rlm.limits(|limits| limits.max_iterations(1)));
    let error = unbroken(&first).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitReached);
    let begun = error.trajectory().unwrap().clone();
    let same = set(REPLIES, |rlm| rlm);
    let again = same.rlm.resume_from(begun.clone()).await.unwrap_err();
    assert_eq!((again.to_string(), again.kind()), (error.to_string(), error.kind()));
    assert!(same.model.requests().is_empty());

    let more = set(&["```python\nkeep one\n```", "```python\nshow\nsubmit answer=1\n```"], |rlm| rlm);
    let prediction = more.rlm.resume_from(begun).limits(|limits| limits.max_iterations(5)).await.unwrap();
    assert_eq!((prediction.status(), prediction.turns()), (Status::Submitted, 2));
    assert_eq!(more.model.requests().len(), 1, "the first turn is not asked for again");
    assert_eq!(
        prediction.usage().calls,
        4,
        "what the calls used that do not count any more is paid all the same"
    );
    let aside = prediction.trajectory().events().find_map(|event| match event {
        Event::RunResumed { records, .. } => Some(*records as usize),
        _ => None,
    });
    let all = prediction.trajectory().events().position(|event| matches!(event, Event::RunResumed { .. }));
    assert!(aside < all, "{aside:?} of {all:?}");
    let third = more.rlm.resume_from(prediction.trajectory().clone()).await.unwrap();
    assert_eq!(third.outputs(), prediction.outputs());
    assert_eq!(third.usage(), prediction.usage());
}

#[tokio::test]
async fn a_record_of_another_task_is_refused_with_what_differs() {
    let first = set(SCRIPT, |rlm| rlm);
    let record = cut(unbroken(&first).await.unwrap().trajectory(), 20);
    let other = |signature: &str, instructions: &str| {
        let rlm = Rlm::builder(signature).instructions(instructions).model(model(SCRIPT));
        rlm.interpreter(WordsFactory::new()).tool(tool(&Arc::default())).build().unwrap()
    };
    let error = other("docs -> answers: list[int]", "ROOT").resume_from(record.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("answers: list[int]"), "{error}");
    let error =
        other("docs -> answer: int", "ROOT, but other").resume_from(record.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("the beginning differs"), "{error}");
    assert!(format!("{error:?}").contains("ROOT, but other"), "{error:?}");
    let error = first.rlm.resume_from(Trajectory::default()).await.unwrap_err();
    assert!(error.to_string().contains("does not begin"), "{error}");
}

#[tokio::test]
async fn an_effect_that_began_is_not_made_again_without_asking() {
    let effect = |set: &mut Arc<Mutex<Vec<String>>>| tool(set).effect();
    let mut calls = Arc::default();
    const REPLIES: &[&str] = &["```python\ntool x\n```", "```python\nsubmit answer=1\n```"];
    let build = |calls: &mut Arc<Mutex<Vec<String>>>| {
        let rlm = Rlm::builder("docs -> answer: int").instructions("ROOT").model(model(REPLIES));
        rlm.interpreter(WordsFactory::new()).tool(effect(calls)).build().unwrap()
    };
    let whole = build(&mut calls).run(inputs! { docs: "d" }).await.unwrap();
    let begun = whole.trajectory().events().position(|event| matches!(event, Event::ToolCallStarted { .. }));
    let begun = cut(whole.trajectory(), begun.unwrap() + 1);
    let mut calls = Arc::default();
    let error = build(&mut calls).resume_from(begun.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("`look(text='x')` had begun"), "{error}");
    assert!(calls.lock().unwrap().is_empty());
    let again = build(&mut calls).resume_from(begun).on_unfinished_effect(|effect| match &*effect.tool {
        "look" => EffectDecision::Repeat,
        _ => EffectDecision::Stop,
    });
    assert_eq!(again.await.unwrap().outputs(), whole.outputs());
    assert_eq!(*calls.lock().unwrap(), ["x"]);
}

#[tokio::test]
async fn a_replay_makes_no_call_and_finds_the_first_difference() {
    let first = set(SCRIPT, |rlm| rlm);
    let record = unbroken(&first).await.unwrap();
    let again = set(SCRIPT, |rlm| rlm);
    let replay = again.rlm.replay_from(record.trajectory().clone()).await.unwrap_or_else(|error| {
        panic!("{error:?}");
    });
    assert_eq!((replay.outputs(), replay.usage()), (record.outputs(), record.usage()));
    assert!(again.model.requests().is_empty() && again.tools.lock().unwrap().is_empty());
    assert_ne!(replay.trajectory().run(), record.trajectory().run());
    pretty_assert(&events(replay.trajectory()), &events(record.trajectory()), "the replay");
    let cells = first.factory.cells.lock().unwrap().len();
    assert_eq!(again.factory.cells.lock().unwrap().len(), cells, "every cell ran, those of children too");

    // The record ends before its run did.
    let error = again.rlm.replay_from(cut(record.trajectory(), 60)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    assert!(error.difference().is_none() && again.model.requests().is_empty());
}

#[tokio::test]
async fn a_cell_that_does_something_else_is_told_and_may_go_on() {
    const REPLIES: &[&str] = &["```python\nclock\n```", "```python\nsubmit answer=1\n```"];
    let first = set(REPLIES, |rlm| rlm);
    let record = unbroken(&first).await.unwrap().trajectory().clone();
    let error = first.rlm.replay_from(record.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Differs);
    assert_eq!(error.to_string().lines().count(), 1);
    let difference = error.difference().unwrap();
    assert_eq!(difference.turn, 1);
    assert!(difference.recorded.contains('0') && difference.now.contains('1'), "{difference}");
    assert_eq!(first.model.requests().len(), 2, "only the first run asked");

    let live = first.rlm.replay_from(record.clone()).live().await.unwrap();
    assert_eq!(live.difference().unwrap().turn, 1);
    assert_eq!(first.model.requests().len(), 3, "the second turn was asked for anew");

    let resumed = first.rlm.resume_from(cut(&record, 7)).await.unwrap();
    let told = resumed.trajectory().events().find_map(|event| match event {
        Event::SessionRebuilt { cells, differences, .. } => Some((*cells, differences.len())),
        _ => None,
    });
    assert_eq!(told, Some((1, 1)), "a resumed run says that the session may differ");
}

#[tokio::test]
async fn forks_go_on_from_a_turn_by_themselves() {
    let first = set(SCRIPT, |rlm| rlm);
    let record = unbroken(&first).await.unwrap().trajectory().clone();
    let other = &[SCRIPT[0], SCRIPT[1], SCRIPT[2], SCRIPT[3], "```python\nshow\nsubmit answer=7\n```"][..];
    let other: &'static [&'static str] = Box::leak(other.to_vec().into_boxed_slice());
    let forks = set(other, |rlm| rlm);
    let run = forks.rlm.fork_from(&record, 3);
    let id = run.id().to_owned();
    let fork = run.await.unwrap();
    assert_eq!(fork.get::<i64>("answer").unwrap(), 7);
    assert_eq!(forks.model.requests().len(), 1);
    assert!(fork.trajectory().run() == id && id != record.run());
    let origin = fork.trajectory().events().find_map(|event| match event {
        Event::RunStarted { forked_from: Some(origin), .. } => Some((origin.run.clone(), origin.turn)),
        _ => None,
    });
    assert_eq!(origin, Some((record.run().to_owned(), 3)));
    let seen = fork.trajectory().turns().last().unwrap().observation.clone().unwrap().stdout.to_string();
    assert!(seen.starts_with("kept: one,'re: first','re: first'"), "{seen}");
    let error = forks.rlm.fork_from(&record, 99).await.unwrap_err();
    assert!(error.to_string().contains("its record has"), "{error}");
    let from_the_start = forks.rlm.fork_from(&record, 0).await.unwrap();
    assert_eq!(from_the_start.get::<i64>("answer").unwrap(), 7);
}

#[tokio::test]
async fn a_run_under_way_is_forked_between_its_turns() {
    const REPLIES: &[&str] = &[
        "```python\nkeep one\nask first\n```",
        "```python\nkeep two\n```",
        "```python\nshow\nsubmit answer=1\n```",
    ];
    let set = set(REPLIES, |rlm| rlm);
    let run = set.rlm.run(inputs! { docs: "d" });
    let handle = run.fork_handle();
    let fork = async { handle.fork_at(1).await.unwrap().await };
    let (fork, whole) = tokio::join!(fork, run.into_future());
    let (whole, fork) = (whole.unwrap(), fork.unwrap());
    assert_eq!(whole.outputs(), fork.outputs());
    assert_ne!(whole.trajectory().run(), fork.trajectory().run());
    assert_eq!(set.model.requests().len(), 4 + 2, "the fork asks for the turns after the first");
    // After its end the record is forked.
    assert_eq!(handle.fork_at(2).await.unwrap().await.unwrap().outputs(), whole.outputs());
    let late = handle.fork_at(3).await.unwrap().await.unwrap_err();
    assert!(late.to_string().contains("ended in turn 3"), "{late}");
    let dropped = set.rlm.run(inputs! { docs: "d" });
    let handle = dropped.fork_handle();
    drop(dropped);
    assert_eq!(handle.fork_at(1).await.unwrap_err().kind(), ErrorKind::Cancelled);
}

#[tokio::test]
async fn a_backend_that_can_copies_the_session_of_a_fork() {
    let cells = ["```python\nfirst\n```", "```python\nsecond\n```"];
    let interpreter = abyme_core::testing::ScriptedInterpreter::from_fn(|cell| {
        let mut seen = Observation::default();
        if cell.code == "second" {
            let fields = [("answer".to_owned(), Value::from(1))].into_iter().collect();
            seen.submission = Some(Submission::fields(Via::Submit, fields));
        }
        Ok(seen)
    });
    let model = ScriptedModel::from_fn(move |request| {
        let said = request.messages.iter().filter(|message| message.role == abyme_core::Role::Assistant);
        Ok(cells[said.count()].into())
    });
    let rlm = Rlm::builder("docs -> answer: int").model(model).interpreter(interpreter.factory());
    let run = rlm.build().unwrap().run(inputs! { docs: "d" });
    let handle = run.fork_handle();
    let fork = async { handle.fork_at(1).await.unwrap().await };
    let (fork, whole) = tokio::join!(fork, run.into_future());
    assert_eq!(whole.unwrap().outputs(), fork.unwrap().outputs());
    let ran = |code: &str| interpreter.cells().iter().filter(|cell| cell.code == code).count();
    assert_eq!((ran("first"), ran("second")), (1, 2), "the fork did not run the first cell again");
}

#[tokio::test]
async fn a_run_goes_on_in_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.jsonl");
    let first = set(SCRIPT, |rlm| rlm);
    let whole = first.rlm.run(inputs! { docs: "some text" }).trace(&path).await.unwrap();
    let seeded = |event: &Event| matches!(event, Event::RunStarted { seed: Some(_), parent: None, .. });
    assert!(whole.trajectory().events().any(seeded), "what is kept in a file can be done again");
    // What a process leaves that is killed.
    cut(whole.trajectory(), 40).save(&path).unwrap();
    let again = set(SCRIPT, |rlm| rlm);
    let resumed = again.rlm.resume(&path).await.unwrap();
    assert_eq!((resumed.outputs(), resumed.usage()), (whole.outputs(), whole.usage()));
    assert_eq!(Trajectory::load(&path).unwrap().to_jsonl(), resumed.trajectory().to_jsonl());

    let third = set(SCRIPT, |rlm| rlm);
    assert_eq!(third.rlm.resume(&path).await.unwrap().outputs(), whole.outputs());
    assert_eq!(third.rlm.replay(&path).await.unwrap().outputs(), whole.outputs());
    assert!(third.model.requests().is_empty());
    let fork = dir.path().join("fork.jsonl");
    let forked = third.rlm.fork(&path, 3).trace(&fork).await.unwrap();
    assert_eq!(Trajectory::load(&fork).unwrap().to_jsonl(), forked.trajectory().to_jsonl());
    assert_eq!(third.rlm.resume(&fork).await.unwrap().outputs(), whole.outputs());
    let error = third.rlm.resume(dir.path().join("none.jsonl")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
}
