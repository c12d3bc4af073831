//! The host calls of a cell that runs again, as its record answers them.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use indexmap::IndexMap;

use super::caller::{SubCall, raised};
use crate::{
    error::ErrorKind,
    inputs::Inputs,
    interpreter::{HostCall, HostError},
    model::Usage,
    signature::TaskSignature,
    trajectory::{Approval, CallOutcome, Difference, Event, Past, PastTree, Record},
    value::{Value, same_entries},
};

/// What the record knows of the host calls of one cell. Each answer is given once, in the order in which the
/// calls began.
#[derive(Debug, Default)]
pub(super) struct Answers {
    tree: Option<Arc<PastTree>>,
    mode: AnswerMode,
    left: Mutex<Left>,
}

/// What becomes of calls that the record does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum AnswerMode {
    /// They are made.
    #[default]
    Open,
    /// They fail: the cell ran before, and all that it called is in the record.
    Closed,
    /// The same, and it is a difference. Children run again too.
    Replay,
}

#[derive(Debug, Default)]
struct Left {
    host_calls: VecDeque<PastHostCall>,
    sub_calls: VecDeque<PastSubCall>,
    children: VecDeque<PastChild>,
    effects: Vec<ToolUse>,
    /// What was answered about calls of tools whose end is not in the record.
    approvals: VecDeque<(ToolUse, Approval)>,
}

/// How the calls of a cell ended, as far as that is known.
#[derive(Debug, Default)]
struct Ends<'r> {
    /// The end of each call, by its number.
    of_call: HashMap<u32, &'r Event>,
    /// The last try of each sub-call whose end is not in the record.
    failed: HashMap<u32, HostError>,
    /// The calls of host calls that returned.
    returned: HashSet<u32>,
    /// The calls that started children.
    children: HashSet<u32>,
}

/// A call of a host function that returned.
#[derive(Debug)]
pub(super) struct PastHostCall {
    function: String,
    arguments: IndexMap<String, Value>,
    /// Whether it started children.
    pub(super) has_children: bool,
    pub(super) result: Result<Value, HostError>,
}

/// A sub-call of a host call that did not return.
#[derive(Debug)]
pub(super) struct PastSubCall {
    asked: SubCallKey,
    pub(super) call: u32,
    pub(super) result: Result<String, HostError>,
    pub(super) is_cut: bool,
    pub(super) usage: Usage,
    /// Whether the record has its end. It may end between the last try and that.
    pub(super) is_ended: bool,
}

/// What makes two sub-calls the same.
#[derive(Debug)]
struct SubCallKey {
    function: String,
    model: String,
    prompt: String,
    max_tokens: Option<u32>,
    temperature: Option<f64>,
    is_repair: bool,
}

/// A child of a host call that did not return, or that is replayed.
#[derive(Debug)]
pub(super) struct PastChild {
    function: String,
    prompt: String,
    pub(super) child: String,
    pub(super) call: u32,
    /// What came of it, if it ended.
    pub(super) result: Option<Result<Value, HostError>>,
}

/// A call of a tool.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ToolUse {
    pub(super) tool: String,
    pub(super) arguments: IndexMap<String, Value>,
}

/// What the calls of a cell used that its record has.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) usage: Usage,
    pub(super) sub_calls: u32,
    /// The tools that were called.
    pub(super) tools: Vec<String>,
}

impl Answers {
    /// The answers that the records of a cell's host calls give.
    pub(super) fn of(past: &Past, records: &[Arc<Record>], mode: AnswerMode) -> Self {
        let mut left = Left::default();
        let ends = Ends::of(records);
        for record in records {
            match &record.event {
                Event::HostCallReturned { function, arguments, calls, outcome, .. } => {
                    let (function, arguments) = (function.clone(), arguments.clone());
                    let has_children = calls.iter().any(|call| ends.children.contains(call));
                    if let Some(result) = result_of(outcome) {
                        let past = PastHostCall { function, arguments, has_children, result };
                        left.host_calls.push_back(past);
                    }
                }
                Event::ToolCallStarted { call, tool, arguments, approval, .. } => {
                    let (function, arguments) = (tool.clone(), arguments.clone());
                    match ends.value(*call) {
                        Some(result) => {
                            let past = PastHostCall { function, arguments, has_children: false, result };
                            left.host_calls.push_back(past);
                        }
                        None => {
                            let asked = ToolUse { tool: function, arguments };
                            if !matches!(approval, Some(Approval::Denied(_))) {
                                left.effects.push(asked.clone());
                            }
                            left.approvals.extend(approval.clone().map(|approval| (asked, approval)));
                        }
                    }
                }
                Event::SubCallStarted {
                    call,
                    function,
                    model,
                    prompt,
                    max_tokens,
                    temperature,
                    repairs,
                    ..
                } if !ends.returned.contains(call) => {
                    let (result, is_cut, usage, is_ended) = match ends.of_call.get(call) {
                        Some(Event::SubCallFinished { outcome, is_cut, usage, .. }) => {
                            (result_of(outcome), *is_cut, *usage, true)
                        }
                        _ => (ends.failed.get(call).cloned().map(Err), false, Usage::default(), false),
                    };
                    let Some(result) = result else { continue };
                    let asked = SubCallKey {
                        function: function.clone(),
                        model: model.clone(),
                        prompt: prompt.clone(),
                        max_tokens: *max_tokens,
                        temperature: *temperature,
                        is_repair: repairs.is_some(),
                    };
                    let call = *call;
                    left.sub_calls.push_back(PastSubCall { asked, call, result, is_cut, usage, is_ended });
                }
                Event::ChildStarted { call, function, child, prompt, .. }
                    if mode == AnswerMode::Replay || !ends.returned.contains(call) =>
                {
                    let (function, prompt, child) = (function.clone(), prompt.clone(), child.clone());
                    let (call, result) = (*call, ends.value(*call));
                    left.children.push_back(PastChild { function, prompt, child, call, result });
                }
                _ => {}
            }
        }
        Self { tree: Some(past.tree().clone()), mode, left: Mutex::new(left) }
    }

    /// Whether the cell is replayed.
    pub(super) fn is_replay(&self) -> bool {
        self.mode == AnswerMode::Replay
    }

    /// Refuses a call that the record has no answer for, where it may not be made.
    pub(super) fn check_open(
        &self,
        turn: u32,
        function: &str,
        arguments: impl FnOnce() -> IndexMap<String, Value>,
    ) -> Result<(), HostError> {
        if self.mode == AnswerMode::Open {
            return Ok(());
        }
        if let (AnswerMode::Replay, Some(tree)) = (self.mode, &self.tree) {
            tree.differs(Difference::of_call(turn, function, &arguments()));
        }
        Err(HostError::runtime_error(format!("the record has no answer for this call of `{function}`")))
    }

    /// The recorded answer of a call of a host function.
    pub(super) fn host_call(
        &self,
        function: &str,
        arguments: &IndexMap<String, Value>,
    ) -> Option<PastHostCall> {
        take(&mut self.left().host_calls, |one| {
            one.function == function && same_entries(&one.arguments, arguments)
        })
    }

    /// The recorded answer of a sub-call.
    pub(super) fn sub_call(&self, asked: &SubCall<'_>) -> Option<PastSubCall> {
        take(&mut self.left().sub_calls, |one| one.asked.is_of(asked))
    }

    /// The child that was started for the same.
    pub(super) fn child(
        &self,
        function: &str,
        prompt: &str,
        signature: &TaskSignature,
        inputs: &Inputs,
    ) -> Option<PastChild> {
        let tree = self.tree.as_ref()?;
        let is_same_task = |child: &str| {
            tree.first(child).is_none_or(|record| match &record.event {
                Event::RunStarted { signature: was, inputs: before, .. } => {
                    was.to_string() == signature.to_string() && same_entries(before, inputs.entries())
                }
                _ => true,
            })
        };
        take(&mut self.left().children, |one| {
            one.function == function && one.prompt == prompt && is_same_task(&one.child)
        })
    }

    /// What was answered when this call of a tool asked for approval, where it began and its end is not
    /// known.
    pub(super) fn approval(&self, tool: &str, arguments: &IndexMap<String, Value>) -> Option<Approval> {
        let asked = take(&mut self.left().approvals, |(asked, _)| {
            asked.tool == tool && same_entries(&asked.arguments, arguments)
        });
        asked.map(|(_, approval)| approval)
    }

    /// The calls of tools that began, and of which it is not known how they ended.
    pub(super) fn unfinished(&self) -> Vec<ToolUse> {
        self.left().effects.clone()
    }

    fn left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'r> Ends<'r> {
    fn of(records: &'r [Arc<Record>]) -> Self {
        let mut ends = Self::default();
        for record in records {
            let event = &record.event;
            match event {
                Event::HostCallReturned { calls, outcome, .. } if is_known(outcome) => {
                    ends.returned.extend(calls);
                }
                Event::ChildStarted { call, .. } => {
                    ends.children.insert(*call);
                }
                Event::SubCallFinished { call, outcome, answered_by: None, .. } if is_known(outcome) => {
                    ends.of_call.insert(*call, event);
                }
                Event::ToolCallFinished { call, outcome, .. }
                | Event::ChildFinished { call, outcome, .. }
                    if is_known(outcome) =>
                {
                    ends.of_call.insert(*call, event);
                }
                // The record says that there is no other try.
                Event::ModelCallFailed { call: Some(call), kind, error, retry_seconds: None, .. }
                    if *kind != ErrorKind::Cancelled =>
                {
                    ends.failed.insert(*call, raised(*kind, error));
                }
                _ => {}
            }
        }
        ends
    }

    /// What a call of a tool, or a child, gave.
    fn value(&self, call: u32) -> Option<Result<Value, HostError>> {
        match self.of_call.get(&call)? {
            Event::ToolCallFinished { outcome, .. } | Event::ChildFinished { outcome, .. } => {
                result_of(outcome)
            }
            _ => None,
        }
    }
}

impl SubCallKey {
    fn is_of(&self, asked: &SubCall<'_>) -> bool {
        let prompt = asked.request.messages.last().map_or("", |message| &message.content);
        self.function == asked.function
            && self.model == asked.model.name()
            && self.max_tokens == asked.request.max_tokens
            && self.temperature == asked.request.temperature
            && self.is_repair == asked.repairs.is_some()
            && self.prompt == prompt
    }
}

impl Tally {
    /// What all calls of a cell used, those of its children too.
    pub(super) fn of_all(past: &Past, records: &[Arc<Record>]) -> Self {
        Self::of(past, records, |_| true)
    }

    /// What those used that are not made again when a cell runs again that did not end: the calls that
    /// returned, and all tries that failed.
    pub(super) fn of_returned(past: &Past, records: &[Arc<Record>]) -> Self {
        let Ends { returned, of_call, .. } = Ends::of(records);
        let is_tool = |call: u32| matches!(of_call.get(&call), Some(Event::ToolCallFinished { .. }));
        Self::of(past, records, |call| returned.contains(&call) || is_tool(call))
    }

    fn of(past: &Past, records: &[Arc<Record>], counts: impl Fn(u32) -> bool) -> Self {
        let mut tally = Self::default();
        for record in records {
            match &record.event {
                Event::ModelCallFailed { usage, .. } => tally.usage += *usage,
                Event::SubCallFinished { call, usage, answered_by, .. } if counts(*call) => {
                    tally.usage += *usage;
                    tally.sub_calls += u32::from(answered_by.is_none());
                }
                Event::ChildStarted { call, child, .. } if counts(*call) => tally.add_child(past, child),
                Event::ToolCallStarted { call, tool, .. } if counts(*call) => tally.tools.push(tool.clone()),
                _ => {}
            }
        }
        tally
    }

    /// What those used that are not made again when a cell is replayed: all but the children whose calls
    /// returned.
    pub(super) fn of_replayed(past: &Past, records: &[Arc<Record>]) -> Self {
        let ends = Ends::of(records).of_call;
        let is_replayed = |call: u32| matches!(ends.get(&call), Some(Event::ChildFinished { .. }));
        Self::of(past, records, |call| !is_replayed(call))
    }

    /// Adds what a child and those below it used.
    pub(super) fn add_child(&mut self, past: &Past, child: &str) {
        let below = past.tree().below(child);
        self.usage += past.tree().used_in(below.iter().map(|(_, record)| record));
        for (_, record) in below {
            self.sub_calls += match &record.event {
                Event::ModelReplied { .. } => 1,
                Event::ModelCallFailed { call: None, retry_seconds: None, .. } => 1,
                Event::SubCallFinished { answered_by: None, .. } => 1,
                _ => 0,
            };
            if let Event::ToolCallStarted { tool, .. } = &record.event {
                self.tools.push(tool.clone());
            }
        }
    }
}

fn result_of<T: Clone>(outcome: &CallOutcome<T>) -> Option<Result<T, HostError>> {
    match outcome {
        CallOutcome::Result(value) => Some(Ok(value.clone())),
        CallOutcome::Error(error) => Some(Err(error.clone())),
        CallOutcome::Cancelled(_) => None,
    }
}

fn is_known<T>(outcome: &CallOutcome<T>) -> bool {
    !matches!(outcome, CallOutcome::Cancelled(_))
}

/// Takes the first of these that fits.
fn take<T>(from: &mut VecDeque<T>, fits: impl Fn(&T) -> bool) -> Option<T> {
    let at = from.iter().position(fits)?;
    from.remove(at)
}

/// The arguments of a host call by name, where no tool says what `*args` is called.
pub(super) fn named(call: &HostCall) -> IndexMap<String, Value> {
    let mut arguments = call.kwargs.clone();
    if !call.args.is_empty() {
        arguments.insert("args".to_owned(), Value::List(call.args.clone()));
    }
    arguments
}
