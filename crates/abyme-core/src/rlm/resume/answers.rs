//! The host calls of a cell that runs again, as its record answers them.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use indexmap::IndexMap;

use crate::{
    error::ErrorKind,
    inputs::Inputs,
    interpreter::{HostCall, HostError},
    limits::Limits,
    model::Usage,
    rlm::caller::{SubCall, raised},
    signature::TaskSignature,
    trajectory::{Approval, CallOutcome, Difference, Event, Past, PastTree, Record},
    value::{Value, same_entries},
};

/// What the record knows of the host calls of one cell. Each answer is given once, in the order in which the
/// calls began.
#[derive(Debug, Default)]
pub(in crate::rlm) struct Answers {
    tree: Option<Arc<PastTree>>,
    mode: AnswerMode,
    left: Mutex<Left>,
}

/// What becomes of calls that the record does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::rlm) enum AnswerMode {
    /// They are made.
    #[default]
    Open,
    /// They fail: the cell ran before, and all that it called is in the record.
    Closed,
    /// As `Closed`, and a call is a difference from the record. Children run again too.
    Replay,
}

#[derive(Debug, Default)]
struct Left {
    host_calls: VecDeque<PastHostCall>,
    sub_calls: VecDeque<PastSubCall>,
    children: VecDeque<PastChild>,
    /// The other calls of tools, where what the record does not answer is made.
    effects: Vec<PastEffect>,
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
pub(in crate::rlm) struct PastHostCall {
    function: String,
    arguments: IndexMap<String, Value>,
    /// The numbers of the calls that it made, or its own.
    calls: Vec<u32>,
    /// Whether it started children.
    pub(in crate::rlm) has_children: bool,
    /// The limits under which it was served, where it is served again.
    pub(in crate::rlm) limits: Option<Limits>,
    pub(in crate::rlm) result: Result<Value, HostError>,
}

/// A sub-call of a host call that did not return.
#[derive(Debug)]
pub(in crate::rlm) struct PastSubCall {
    asked: SubCallKey,
    pub(in crate::rlm) call: u32,
    pub(in crate::rlm) result: Result<String, HostError>,
    pub(in crate::rlm) is_cut: bool,
    pub(in crate::rlm) usage: Usage,
    /// Whether the record has its end. It may end between the last try and that.
    pub(in crate::rlm) is_ended: bool,
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
pub(in crate::rlm) struct PastChild {
    function: String,
    prompt: String,
    pub(in crate::rlm) child: String,
    pub(in crate::rlm) call: u32,
    /// What came of it, if it ended.
    pub(in crate::rlm) result: Option<Result<Value, HostError>>,
}

/// A call of a tool.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::rlm) struct ToolUse {
    pub(in crate::rlm) tool: String,
    pub(in crate::rlm) arguments: IndexMap<String, Value>,
}

/// A call of a tool that the cell made, or a child of it.
#[derive(Debug)]
struct PastEffect {
    made: ToolUse,
    /// The number of the call, or of the one that started the child.
    call: u32,
    is_of_child: bool,
    /// Whether the cell made the call again, or somebody was asked about it.
    is_settled: bool,
}

/// What the calls of a cell used that its record has.
#[derive(Debug, Default)]
pub(in crate::rlm) struct Tally {
    pub(in crate::rlm) usage: Usage,
    pub(in crate::rlm) sub_calls: u32,
    /// The tools that were called.
    pub(in crate::rlm) tools: Vec<String>,
}

impl Answers {
    /// The answers that the records of a cell's host calls give.
    pub(in crate::rlm) fn of(past: &Past, records: &[Arc<Record>], mode: AnswerMode) -> Self {
        let mut left = Left::default();
        let ends = Ends::of(records);
        for record in records {
            match &record.event {
                Event::HostCallReturned { function, arguments, calls, outcome, .. } => {
                    let (function, arguments) = (function.clone(), arguments.clone());
                    let has_children = calls.iter().any(|call| ends.children.contains(call));
                    if let Some(result) = result_of(outcome) {
                        let is_served = has_children && mode == AnswerMode::Replay;
                        let limits = is_served.then(|| past.limits_at(record).cloned()).flatten();
                        let calls = calls.clone();
                        let past = PastHostCall { function, arguments, calls, has_children, limits, result };
                        left.host_calls.push_back(past);
                    }
                }
                Event::ToolCallStarted { call, tool, arguments, approval, .. } => {
                    let (function, arguments) = (tool.clone(), arguments.clone());
                    match ends.value(*call) {
                        Some(result) => {
                            let (calls, has_children, limits) = (vec![*call], false, None);
                            let past =
                                PastHostCall { function, arguments, calls, has_children, limits, result };
                            left.host_calls.push_back(past);
                        }
                        None => {
                            let asked = ToolUse { tool: function, arguments };
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
        if mode == AnswerMode::Open {
            left.effects = effects_in(past.tree(), records, &ends);
        }
        Self { tree: Some(past.tree().clone()), mode, left: Mutex::new(left) }
    }

    /// Whether the cell is replayed.
    pub(in crate::rlm) fn is_replay(&self) -> bool {
        self.mode == AnswerMode::Replay
    }

    /// Refuses a call that the record has no answer for, where it may not be made.
    pub(in crate::rlm) fn check_open(
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
    pub(in crate::rlm) fn host_call(
        &self,
        function: &str,
        arguments: &IndexMap<String, Value>,
    ) -> Option<PastHostCall> {
        let mut left = self.left();
        let taken = take(&mut left.host_calls, |one| {
            one.function == function && same_entries(&one.arguments, arguments)
        })?;
        left.settle(&taken.calls);
        Some(taken)
    }

    /// The recorded answer of a sub-call.
    pub(in crate::rlm) fn sub_call(&self, asked: &SubCall<'_>) -> Option<PastSubCall> {
        take(&mut self.left().sub_calls, |one| one.asked.is_of(asked))
    }

    /// The child that was started for the same.
    pub(in crate::rlm) fn child(
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
        let mut left = self.left();
        let taken = take(&mut left.children, |one| {
            one.function == function && one.prompt == prompt && is_same_task(&one.child)
        })?;
        left.settle(&[taken.call]);
        Some(taken)
    }

    /// What was answered when this call of a tool asked for approval, where it began and its end is not
    /// known.
    pub(in crate::rlm) fn approval(
        &self,
        tool: &str,
        arguments: &IndexMap<String, Value>,
    ) -> Option<Approval> {
        let asked = take(&mut self.left().approvals, |(asked, _)| {
            asked.tool == tool && same_entries(&asked.arguments, arguments)
        });
        asked.map(|(_, approval)| approval)
    }

    /// Whether the cell called this tool before, or a child of it did.
    pub(in crate::rlm) fn has_effect(&self, tool: &str) -> bool {
        self.left().effects.iter().any(|effect| effect.made.tool == tool)
    }

    /// Whether children of the cell called tools before.
    pub(in crate::rlm) fn has_effects_of_children(&self) -> bool {
        self.left().effects.iter().any(|effect| effect.is_of_child)
    }

    /// A call of this tool that the cell has not made again and of which nobody was asked. Each is given
    /// once, in order.
    pub(in crate::rlm) fn next_effect(&self, tool: &str) -> Option<ToolUse> {
        self.left().next_effect(|effect| effect.made.tool == tool)
    }

    /// Such a call of a child that the cell has not started again.
    pub(in crate::rlm) fn next_effect_of_child(&self, is_it: impl Fn(&ToolUse) -> bool) -> Option<ToolUse> {
        self.left().next_effect(|effect| effect.is_of_child && is_it(&effect.made))
    }

    fn left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Left {
    /// Takes note of calls that the record answered.
    fn settle(&mut self, calls: &[u32]) {
        let settled = self.effects.iter_mut().filter(|effect| calls.contains(&effect.call));
        settled.for_each(|effect| effect.is_settled = true);
    }

    fn next_effect(&mut self, is_it: impl Fn(&PastEffect) -> bool) -> Option<ToolUse> {
        let next = self.effects.iter_mut().find(|effect| !effect.is_settled && is_it(effect))?;
        next.is_settled = true;
        Some(next.made.clone())
    }
}

impl PastEffect {
    /// The call that a record is of, if it is one that was made.
    fn of(record: &Record, call: u32, is_of_child: bool) -> Option<Self> {
        Some(Self { made: begun(record)?, call, is_of_child, is_settled: false })
    }
}

/// The call of a tool that a record is the start of, unless it was denied.
fn begun(record: &Record) -> Option<ToolUse> {
    match &record.event {
        Event::ToolCallStarted { approval: Some(Approval::Denied(_)), .. } => None,
        Event::ToolCallStarted { tool, arguments, .. } => {
            Some(ToolUse { tool: tool.clone(), arguments: arguments.clone() })
        }
        _ => None,
    }
}

/// The calls of tools that a cell made and that ended, and all those of its children.
fn effects_in(tree: &PastTree, records: &[Arc<Record>], ends: &Ends<'_>) -> Vec<PastEffect> {
    let effects = records.iter().flat_map(|record| match &record.event {
        Event::ToolCallStarted { call, .. } if ends.value(*call).is_some() => {
            Vec::from_iter(PastEffect::of(record, *call, false))
        }
        Event::ChildStarted { call, child, .. } => {
            let below = tree.below(child).into_iter();
            below.filter_map(|(_, record)| PastEffect::of(record, *call, true)).collect()
        }
        _ => Vec::new(),
    });
    effects.collect()
}

/// The calls of tools among these that began, and of which it is not known how they ended.
pub(in crate::rlm) fn unfinished_among(calls: &[Arc<Record>]) -> Vec<ToolUse> {
    let ends = Ends::of(calls);
    let has_no_end = |record: &&Arc<Record>| match &record.event {
        Event::ToolCallStarted { call, .. } => ends.value(*call).is_none(),
        _ => false,
    };
    calls.iter().filter(has_no_end).filter_map(|record| begun(record)).collect()
}

/// The calls of tools that began in the cell that the record of a run ends in, or below it, and of which it
/// is not known how they ended.
pub(in crate::rlm) fn unfinished_in(tree: &Arc<PastTree>, run: &str) -> Vec<ToolUse> {
    let calls = tree.last_cell(run);
    let ends = Ends::of(&calls);
    let unfinished = calls.iter().flat_map(|record| match &record.event {
        Event::ToolCallStarted { call, .. } if ends.value(*call).is_none() => Vec::from_iter(begun(record)),
        Event::ChildStarted { call, child, .. }
            if ends.value(*call).is_none() && !ends.returned.contains(call) =>
        {
            unfinished_in(tree, child)
        }
        _ => Vec::new(),
    });
    unfinished.collect()
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
    pub(in crate::rlm) fn of_all(past: &Past, records: &[Arc<Record>]) -> Self {
        Self::of(past, records, |_| true)
    }

    /// What those used that are not made again when a cell runs again that did not end: the calls that
    /// returned, and all tries that failed.
    pub(in crate::rlm) fn of_returned(past: &Past, records: &[Arc<Record>]) -> Self {
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
    pub(in crate::rlm) fn of_replayed(past: &Past, records: &[Arc<Record>]) -> Self {
        let ends = Ends::of(records).of_call;
        let is_replayed = |call: u32| matches!(ends.get(&call), Some(Event::ChildFinished { .. }));
        Self::of(past, records, |call| !is_replayed(call))
    }

    /// Adds what a child and those below it used.
    pub(in crate::rlm) fn add_child(&mut self, past: &Past, child: &str) {
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
pub(in crate::rlm) fn named(call: &HostCall) -> IndexMap<String, Value> {
    let mut arguments = call.kwargs.clone();
    if !call.args.is_empty() {
        arguments.insert("args".to_owned(), Value::List(call.args.clone()));
    }
    arguments
}
