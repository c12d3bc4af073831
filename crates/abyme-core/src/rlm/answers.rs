//! The host calls of a cell that runs again, as its record answers them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indexmap::IndexMap;

use super::caller::raised;
use crate::{
    error::ErrorKind,
    inputs::Inputs,
    interpreter::{HostCall, HostError},
    model::Usage,
    signature::TaskSignature,
    trajectory::{CallOutcome, Difference, Event, Past, PastTree, Record, usage_of},
    value::Value,
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
    host_calls: Vec<PastHostCall>,
    sub_calls: Vec<PastSubCall>,
    children: Vec<PastChild>,
    effects: Vec<ToolUse>,
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
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SubCallKey {
    pub(super) function: String,
    pub(super) model: String,
    pub(super) prompt: String,
    pub(super) max_tokens: Option<u32>,
    pub(super) temperature: Option<f64>,
    pub(super) is_repair: bool,
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
        let mut returned = Vec::new();
        let is_child = |call: &u32| {
            records.iter().any(|record| match &record.event {
                Event::ChildStarted { call: started, .. } => started == call,
                _ => false,
            })
        };
        for record in records {
            if let Event::HostCallReturned { function, arguments, calls, outcome, .. } = &record.event
                && let Some(result) = result_of(outcome)
            {
                let (function, arguments) = (function.clone(), arguments.clone());
                returned.extend(calls.iter().copied());
                let has_children = calls.iter().any(is_child);
                left.host_calls.push(PastHostCall { function, arguments, has_children, result });
            }
        }
        for record in records {
            match &record.event {
                Event::ToolCallStarted { call, tool, arguments, .. } => {
                    let (function, arguments) = (tool.clone(), arguments.clone());
                    let end = records.iter().find_map(|end| match &end.event {
                        Event::ToolCallFinished { call: ended, outcome, .. } if ended == call => {
                            result_of(outcome)
                        }
                        _ => None,
                    });
                    match end {
                        Some(result) => {
                            let has_children = false;
                            left.host_calls.push(PastHostCall { function, arguments, has_children, result });
                        }
                        None => left.effects.push(ToolUse { tool: function, arguments }),
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
                } if !returned.contains(call) => {
                    let asked = SubCallKey {
                        function: function.clone(),
                        model: model.clone(),
                        prompt: prompt.clone(),
                        max_tokens: *max_tokens,
                        temperature: *temperature,
                        is_repair: repairs.is_some(),
                    };
                    let end = records.iter().find_map(|end| match &end.event {
                        Event::SubCallFinished {
                            call: ended, outcome, is_cut, usage, answered_by, ..
                        } if ended == call && answered_by.is_none() => {
                            Some((result_of(outcome)?, *is_cut, *usage))
                        }
                        _ => None,
                    });
                    let call = *call;
                    if let Some((result, is_cut, usage)) = end {
                        let is_ended = true;
                        left.sub_calls.push(PastSubCall { asked, call, result, is_cut, usage, is_ended });
                    } else if let Some(error) = records.iter().find_map(|end| failed_for_good(end, call)) {
                        let (result, is_cut, usage, is_ended) = (Err(error), false, Usage::default(), false);
                        left.sub_calls.push(PastSubCall { asked, call, result, is_cut, usage, is_ended });
                    }
                }
                Event::ChildStarted { call, function, child, prompt, .. }
                    if mode == AnswerMode::Replay || !returned.contains(call) =>
                {
                    let result = records.iter().find_map(|end| match &end.event {
                        Event::ChildFinished { call: ended, outcome, .. } if ended == call => {
                            result_of(outcome)
                        }
                        _ => None,
                    });
                    let (function, prompt) = (function.clone(), prompt.clone());
                    left.children.push(PastChild {
                        function,
                        prompt,
                        child: child.clone(),
                        call: *call,
                        result,
                    });
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
        arguments: &IndexMap<String, Value>,
    ) -> Result<(), HostError> {
        if self.mode == AnswerMode::Open {
            return Ok(());
        }
        if let (AnswerMode::Replay, Some(tree)) = (self.mode, &self.tree) {
            tree.differs(Difference::of_call(turn, function, arguments));
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
            one.function == function && is_same(&one.arguments, arguments)
        })
    }

    /// The recorded answer of a sub-call.
    pub(super) fn sub_call(&self, asked: &SubCallKey) -> Option<PastSubCall> {
        take(&mut self.left().sub_calls, |one| one.asked == *asked)
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
            let first = tree.of(child).and_then(|past| past.first());
            first.is_none_or(|record| match &record.event {
                Event::RunStarted { signature: was, inputs: before, .. } => {
                    was.to_string() == signature.to_string()
                        && before.len() == inputs.names().count()
                        && inputs.iter().all(|(name, value)| {
                            before.get(name).is_some_and(|before| is_same_value(before, value))
                        })
                }
                _ => true,
            })
        };
        take(&mut self.left().children, |one| {
            one.function == function && one.prompt == prompt && is_same_task(&one.child)
        })
    }

    /// The calls of tools that began, and of which it is not known how they ended.
    pub(super) fn unfinished(&self) -> Vec<ToolUse> {
        self.left().effects.clone()
    }

    fn left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
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
        let returned: Vec<u32> = records
            .iter()
            .filter_map(|record| match &record.event {
                Event::HostCallReturned { calls, .. } => Some(calls.clone()),
                _ => None,
            })
            .flatten()
            .collect();
        Self::of(past, records, |call| returned.contains(&call))
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
                Event::ToolCallStarted { tool, .. } => tally.tools.push(tool.clone()),
                _ => {}
            }
        }
        tally
    }

    /// What those used that are not made again when a cell is replayed: all but the children whose calls
    /// returned.
    pub(super) fn of_replayed(past: &Past, records: &[Arc<Record>]) -> Self {
        let replayed: Vec<u32> = records
            .iter()
            .filter_map(|record| match &record.event {
                Event::ChildFinished { call, outcome, .. } if result_of(outcome).is_some() => Some(*call),
                _ => None,
            })
            .collect();
        Self::of(past, records, |call| !replayed.contains(&call))
    }

    /// Adds what a child and those below it used.
    pub(super) fn add_child(&mut self, past: &Past, child: &str) {
        for record in past.tree().below(child) {
            self.usage += usage_of(record);
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

/// What the last try of a sub-call raised, if the record says that there is no other.
fn failed_for_good(record: &Record, of: u32) -> Option<HostError> {
    match &record.event {
        Event::ModelCallFailed { call: Some(call), kind, error, retry_seconds: None, .. }
            if *call == of && *kind != ErrorKind::Cancelled =>
        {
            Some(raised(*kind, error))
        }
        _ => None,
    }
}

/// Takes the first of these that fits.
fn take<T>(from: &mut Vec<T>, fits: impl Fn(&T) -> bool) -> Option<T> {
    let at = from.iter().position(fits)?;
    Some(from.remove(at))
}

fn is_same(a: &IndexMap<String, Value>, b: &IndexMap<String, Value>) -> bool {
    a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| is_same_value(a, b)))
}

/// Whether two values are the same; unlike for `==`, NaN is itself.
fn is_same_value(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits() || a == b,
        (Value::List(a), Value::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same_value(a, b))
        }
        (Value::Dict(a), Value::Dict(b)) => is_same(a, b),
        (a, b) => a == b,
    }
}

/// The arguments of a host call by name, where no tool says what `*args` is called.
pub(super) fn named(call: &HostCall) -> IndexMap<String, Value> {
    let mut arguments = call.kwargs.clone();
    if !call.args.is_empty() {
        arguments.insert("args".to_owned(), Value::List(call.args.clone()));
    }
    arguments
}
