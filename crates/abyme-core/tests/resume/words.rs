//! A backend of a few words in place of Python, a script for its model, and what runs on them have in common.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use abyme_core::{
    Capabilities, Captured, Cell, CodeInterpreter, Error, ErrorKind, Event, HostCall, HostError,
    HostFunctions, InterpreterFactory, Isolation, Observation, ParameterSpec, Prediction, PythonError,
    Record, Request, Response, Result, Rlm, RlmBuilder, Stage, Submission, Tool, Trajectory, Usage, Value,
    Via, inputs, testing::ScriptedModel,
};

/// A session that remembers, and whose cells call the host. Each line of a cell is a word and its argument.
#[derive(Debug)]
pub(super) struct Words {
    capabilities: Capabilities,
    kept: Vec<String>,
    ended: bool,
}

#[derive(Clone, Debug)]
pub(super) struct WordsFactory {
    capabilities: Capabilities,
    /// The cells that ran, in all sessions.
    pub(super) cells: Arc<Mutex<Vec<String>>>,
    /// What `clock` prints next.
    ticks: Arc<AtomicU32>,
    pub(super) sessions: Arc<AtomicU32>,
}

#[derive(Debug)]
struct WordsSession {
    words: Words,
    factory: WordsFactory,
}

impl WordsFactory {
    pub(super) fn new() -> Self {
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
        Ok(Box::new(WordsSession { words, factory: self.clone() }))
    }
}

#[async_trait::async_trait]
impl CodeInterpreter for WordsSession {
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
            let tick = || self.factory.ticks.fetch_add(1, Ordering::Relaxed);
            let call = match word {
                "ask" => HostCall::new("llm_query").argument("prompt", rest),
                "batch" => HostCall::new("llm_query_batched").argument("prompts", many()),
                "child" => HostCall::new("rlm_query").argument("prompt", rest).argument("context", "text"),
                "children" => HostCall::new("rlm_query_batched").argument("prompts", many()),
                "tool" => HostCall::new("look").argument("text", rest),
                "tool_at" => HostCall::new("look").argument("text", format!("{rest} at {}", tick())),
                "child_at" => HostCall::new("rlm_query").argument("prompt", format!("{rest} at {}", tick())),
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
                    out.push_str(&format!("{}\n", tick()));
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

/// What children reply.
const CHILD: &[&str] = &[
    "```python\nask of the child\nchild child-below\n```",
    "```python\nshow\n```",
    "```python\nsubmit answer=grown\n```",
];

/// [`scripted`] with the replies of children that most tests have.
pub(super) fn model(root: &'static [&'static str]) -> ScriptedModel {
    scripted(root, CHILD)
}

/// Replies to the root and to children by how often they replied, and to prompts by their text.
pub(super) fn scripted(root: &'static [&'static str], children: &'static [&'static str]) -> ScriptedModel {
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
        let replies = if is_child { children } else { root };
        match replies.get(turn) {
            Some(reply) => Ok(text((*reply).to_owned())),
            None => Err(Error::new(ErrorKind::BadRequest, "the script has no reply left")),
        }
    })
}

pub(super) const SCRIPT: &[&str] = &[
    "```python\nkeep one\nask first\nask first\nbatch a|b|refused\ntool x\n```",
    "no code in this",
    "```python\nsyntax\n```",
    "```python\nchildren child-1|child-2\nask after\nbudget\nshow\n```",
    "```python\nsubmit answer=many\n```",
    "```python\ndie\n```",
    "```python\nkeep two\ntool y\nshow\n```",
    "```python\nask again\nchild child-3\nshow\nsubmit answer=42\n```",
];

pub(super) fn tool(calls: &Arc<Mutex<Vec<String>>>) -> Tool {
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

pub(super) struct Set {
    pub(super) rlm: Rlm,
    pub(super) model: ScriptedModel,
    pub(super) factory: WordsFactory,
    pub(super) tools: Arc<Mutex<Vec<String>>>,
}

pub(super) fn set(script: &'static [&'static str], change: impl FnOnce(RlmBuilder) -> RlmBuilder) -> Set {
    set_of(model(script), change)
}

pub(super) fn set_of(model: ScriptedModel, change: impl FnOnce(RlmBuilder) -> RlmBuilder) -> Set {
    let (factory, tools) = (WordsFactory::new(), Arc::default());
    let rlm = Rlm::builder("docs -> answer: int").instructions("ROOT").model(model.clone());
    let rlm = rlm.interpreter(factory.clone()).tool(tool(&tools));
    let rlm = rlm.limits(|limits| limits.max_depth(2).max_cost(1_000.0).run_timeout(None));
    Set { rlm: change(rlm).build().unwrap(), model, factory, tools }
}

pub(super) fn unbroken(set: &Set) -> impl Future<Output = Result<Prediction>> {
    set.rlm.run(inputs! { docs: "some text" }).into_future()
}

pub(super) fn cut(trajectory: &Trajectory, records: usize) -> Trajectory {
    trajectory.records().take(records).cloned().collect()
}

/// The events of a run without what differs between two runs of the same: ids, numbers of calls, times, and
/// what says that it went on.
pub(super) fn events(trajectory: &Trajectory) -> Vec<String> {
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
pub(super) fn answered(trajectory: &Trajectory) -> (usize, usize) {
    let models = trajectory.events().filter(|event| match event {
        Event::ModelReplied { .. } => true,
        Event::ModelCallFailed { .. } => true,
        Event::SubCallFinished { answered_by: None, usage, .. } => usage.calls > 0,
        _ => false,
    });
    let tools = trajectory.events().filter(|event| matches!(event, Event::ToolCallFinished { .. }));
    (models.count(), tools.count())
}

pub(super) fn pretty_assert(now: &[String], expected: &[String], what: &str) {
    let missing: Vec<_> = expected.iter().filter(|event| !now.contains(event)).collect();
    let more: Vec<_> = now.iter().filter(|event| !expected.contains(event)).collect();
    assert!(missing.is_empty() && more.is_empty(), "{what}\nmissing: {missing:#?}\nmore: {more:#?}");
    assert_eq!(now.len(), expected.len(), "{what}");
}
