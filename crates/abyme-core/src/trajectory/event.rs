//! What happens in a run, as the trajectory records it.

use std::{collections::BTreeMap, fmt, sync::Arc};

use async_trait::async_trait;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::{
    compaction::Compaction,
    error::ErrorKind,
    interpreter::{FunctionSpec, Guarantee, HostError, Observation, Via},
    limits::Limits,
    model::{FinishReason, Message, NativeCall, Usage},
    signature::TaskSignature,
    status::Status,
    tool::Effect,
    value::Value,
};

/// How much of an argument a difference shows.
const SHOWN_CHARS: usize = 2_000;

/// An event with its time. The record of a run holds those of its children too, each under its own id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Record {
    /// The id of the run: 16 hexadecimal digits, the same in all its records.
    #[serde(default)]
    pub run: String,
    /// Seconds since the run's start.
    pub at: f64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

impl Record {
    pub(super) fn new(run: &str, at: f64, event: Event) -> Self {
        Self { run: run.to_owned(), at: (at * 1e6).round() / 1e6, event }
    }

    /// The record as one line of JSON, with its end of line.
    pub fn to_line(&self) -> String {
        // An event holds only types that JSON can write; the fallback keeps a bug from costing a run.
        let mut line = serde_json::to_string(self).unwrap_or_else(|error| {
            serde_json::json!({"run": self.run, "at": self.at, "unwritable": error.to_string()}).to_string()
        });
        line.push('\n');
        line
    }
}

/// What happens in a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "most of a record's memory is text on the heap, not the enum")]
pub enum Event {
    /// The run begins.
    #[non_exhaustive]
    RunStarted {
        /// Version of Abyme.
        abyme: String,
        /// Wall clock, in milliseconds since 1970.
        unix_ms: u64,
        /// What the caller calls this run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        label: Option<String>,
        /// The call that started it; absent for a run that no other run started.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent: Option<ParentCall>,
        /// The run that it is a fork of, if it is one. The records up to the fork are copies of that run's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        forked_from: Option<ForkOrigin>,
        /// What the random numbers of its sessions begin with, below 2^53; none where that is left to Python.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seed: Option<u64>,
        /// The time of day that its sessions begin with, in milliseconds since 1970, where their clocks and
        /// random bytes are the same each time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session_unix_ms: Option<u64>,
        /// The task.
        signature: TaskSignature,
        /// The inputs, as the session has them.
        inputs: IndexMap<String, Value>,
        /// The user's tools, those in Python left out.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tools: Vec<FunctionSpec>,
        /// What calls of tools do outside of the run, by the names of those that do something.
        #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
        effects: IndexMap<String, Vec<Effect>>,
        /// The model that plans.
        model: String,
        /// The model that answers `llm_query`.
        sub_model: String,
        /// The backend.
        interpreter: String,
        /// The prompts and conventions that it follows, as `standard` or `dspy`; absent for a child, which
        /// has those of its parent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        profile: Option<String>,
        /// What checks its cells before they run: `guard_rail`, or the SHA-256 of a policy of the caller's
        /// own; absent where nothing does, and for a child, whose parent's policy checks its cells.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        policy: Option<String>,
        /// The sources whose functions are tools in Python; absent for a child, which has those of its
        /// parent.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        python_tools: Vec<PythonToolSource>,
        /// What its sessions hold to whatever their code does, each with what it is held by.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        guarantees: BTreeMap<Guarantee, String>,
        /// The limits of the run. They hold for it and, as far as no event of their own says otherwise, for
        /// those below it, until a `run_resumed` of it has others.
        limits: Limits,
        /// When its earlier turns are summarised. Absent in records of before this was written down.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        compaction: Option<Compaction>,
        /// How many tokens its model can read at once, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_input_tokens: Option<u64>,
        /// The first messages of every request of this run.
        messages: Vec<Message>,
    },
    /// The root model answered.
    #[non_exhaustive]
    ModelReplied {
        /// The turn it belongs to, from 1.
        turn: u32,
        /// The purpose of the request.
        purpose: Purpose,
        /// The reply, whole, or as far as it came.
        text: String,
        /// What the model thought before it, where the provider tells it apart from the text.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reasoning: String,
        /// The function that the model called in the provider's own form.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        native_call: Option<NativeCall>,
        /// Why the model stopped.
        finish_reason: FinishReason,
        /// That the loop ended the generation, if it did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stopped: Option<StoppedEarly>,
        /// What the call used.
        usage: Usage,
        /// How long it took.
        seconds: f64,
    },
    /// A piece of a reply of the root model, or of what it thinks, as it comes. Those who watch a run see it
    /// ([`EventSink::piece`], [`Run::events`](crate::Run::events)); no record and no trace holds it, because
    /// [`ModelReplied`](Event::ModelReplied) has them all. After a
    /// [`ModelCallFailed`](Event::ModelCallFailed) the reply begins anew.
    #[non_exhaustive]
    #[cfg_attr(test, schemars(skip))]
    ModelText {
        /// The turn it belongs to.
        turn: u32,
        /// The purpose of the request.
        purpose: Purpose,
        /// What it is a piece of.
        part: ReplyPart,
        /// The piece.
        text: String,
    },
    /// A cell asks for so many sub-calls or children at once, and they begin. Those who watch a run see it,
    /// as [`ModelText`](Event::ModelText), to know how much is to come; no record and no trace holds it.
    #[non_exhaustive]
    #[cfg_attr(test, schemars(skip))]
    CallsAsked {
        /// The turn it belongs to.
        turn: u32,
        /// How many. A reply that is to be corrected takes one more.
        count: u32,
        /// Whether they are children.
        are_children: bool,
    },
    /// A reply of the root model was not acted on: it held no code, or none that can be read, or no outputs
    /// where these were asked for. The model is asked again.
    #[non_exhaustive]
    ReplyRefused {
        /// The turn it belongs to.
        turn: u32,
        /// The purpose of the request.
        purpose: Purpose,
        /// What is wrong with it, for a person.
        problem: String,
    },
    /// One try of a model call failed, or was cancelled.
    #[non_exhaustive]
    ModelCallFailed {
        /// The turn it belongs to.
        turn: u32,
        /// The number of the sub-call that it belongs to; absent for a call of the root model.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        call: Option<u32>,
        /// The model that was called.
        model: String,
        /// The kind of its error, on which the loop decides.
        kind: ErrorKind,
        /// Why it failed.
        error: String,
        /// What it used, as far as the provider says.
        #[serde(default = "Usage::call")]
        usage: Usage,
        /// How long it took.
        seconds: f64,
        /// After how many seconds the call is tried again, if it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_seconds: Option<f64>,
    },
    /// Earlier messages were cut, because the model or its provider refused the conversation as it was.
    #[non_exhaustive]
    TranscriptCut {
        /// The turn it belongs to.
        turn: u32,
        /// Why, for a person.
        reason: String,
        /// All messages of the next request, as they are from now on.
        messages: Vec<Message>,
    },
    /// Earlier turns were summarised: see [`Compaction`](crate::Compaction). The summary is the reply before
    /// this event. Or they were left out, where nothing else made a refused request shorter: then `messages`
    /// say so in place of a summary.
    #[non_exhaustive]
    TranscriptCompacted {
        /// The turn it belongs to.
        turn: u32,
        /// The last turn that the summary stands for; it stands for all before it too.
        through: u32,
        /// The variable of the session that holds these turns whole, from the next cell on.
        variable: String,
        /// All messages of the next request, as they are from now on.
        messages: Vec<Message>,
    },
    /// The message that the next request ends with, as the model reads it.
    #[non_exhaustive]
    MessageAppended {
        /// The turn it belongs to.
        turn: u32,
        /// The message.
        message: Message,
    },
    /// A cell is about to run.
    #[non_exhaustive]
    CellStarted {
        /// The turn it belongs to.
        turn: u32,
        /// What the model wrote around the code.
        reasoning: String,
        /// The code.
        code: String,
    },
    /// A model call made from a cell begins.
    #[non_exhaustive]
    SubCallStarted {
        /// The turn it belongs to.
        turn: u32,
        /// Its number among the host calls of the run, from 1.
        call: u32,
        /// `llm_query` or `llm_query_batched`.
        function: String,
        /// The model that was called.
        model: String,
        /// The prompt as it was sent, whole.
        prompt: String,
        /// Most tokens of the reply, where the cell set that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_tokens: Option<u32>,
        /// The sampling temperature, where the cell set that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        temperature: Option<f64>,
        /// The number of the sub-call whose reply this one asks to correct, because it is not of the type
        /// that was asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        repairs: Option<u32>,
    },
    /// A model call made from a cell was answered, failed, or was cancelled with its cell.
    #[non_exhaustive]
    SubCallFinished {
        /// The turn it belongs to.
        turn: u32,
        /// Its number, as in [`SubCallStarted`](Event::SubCallStarted).
        call: u32,
        /// The reply as the cell gets it, or the exception that it gets in its place.
        #[serde(flatten)]
        outcome: CallOutcome<String>,
        /// Whether the length limit cut the reply.
        #[serde(default, skip_serializing_if = "is_false")]
        is_cut: bool,
        /// What the call used. Nothing, where another call answered it.
        usage: Usage,
        /// How long it took.
        seconds: f64,
        /// The call that answered it, if that is another one: it had asked the same, and was in flight.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        answered_by: Option<CallRef>,
    },
    /// A child run is started from a cell. Its own records follow, under its own id.
    #[non_exhaustive]
    ChildStarted {
        /// The turn it belongs to.
        turn: u32,
        /// Its number among the host calls of the run, from 1.
        call: u32,
        /// `rlm_query` or `rlm_query_batched`.
        function: String,
        /// The id of the child: the one that its records carry.
        child: String,
        /// What the child is asked, whole.
        prompt: String,
    },
    /// A child run ended, failed, or was cancelled with the cell that started it.
    #[non_exhaustive]
    ChildFinished {
        /// The turn it belongs to.
        turn: u32,
        /// Its number, as in [`ChildStarted`](Event::ChildStarted).
        call: u32,
        /// The id of the child.
        child: String,
        /// What the cell gets, or the exception that it gets in its place.
        #[serde(flatten)]
        outcome: CallOutcome<Value>,
        /// What the child and its own children used.
        usage: Usage,
        /// How long it took.
        seconds: f64,
    },
    /// A tool is called from a cell.
    #[non_exhaustive]
    ToolCallStarted {
        /// The turn it belongs to.
        turn: u32,
        /// Its number among the host calls of the run, from 1.
        call: u32,
        /// The tool's name.
        tool: String,
        /// Its arguments.
        arguments: IndexMap<String, Value>,
        /// Whether it may be made, where somebody was asked: what is denied ends with an error at once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        approval: Option<Approval>,
    },
    /// A tool returned, failed, or was cancelled with its cell.
    #[non_exhaustive]
    ToolCallFinished {
        /// The turn it belongs to.
        turn: u32,
        /// Its number, as in [`ToolCallStarted`](Event::ToolCallStarted).
        call: u32,
        /// What it returned, or the exception that the cell gets.
        #[serde(flatten)]
        outcome: CallOutcome<Value>,
        /// How long it took.
        seconds: f64,
    },
    /// A call of a built-in host function returned to its cell: the sub-calls and children that it made are
    /// events of their own, and this is what the cell got of them all. A call that was cancelled with its
    /// cell has no such event.
    #[non_exhaustive]
    HostCallReturned {
        /// The turn it belongs to.
        turn: u32,
        /// `llm_query`, `llm_query_batched`, `rlm_query`, `rlm_query_batched` or `budget`.
        function: String,
        /// Its arguments.
        arguments: IndexMap<String, Value>,
        /// The numbers of the sub-calls and children that it made.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        calls: Vec<u32>,
        /// What it returned, or the exception that the cell gets.
        #[serde(flatten)]
        outcome: CallOutcome<Value>,
    },
    /// A cell ended.
    #[non_exhaustive]
    CellFinished {
        /// The turn it belongs to.
        turn: u32,
        /// What it produced.
        observation: Observation,
        /// What the host has to say about its calls, for the model to read beside the observation.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        notes: Vec<String>,
        /// How many sub-calls the run, and all that belong to its tree, had taken by then.
        #[serde(default)]
        sub_calls: u32,
    },
    /// A session died. A new one gets the inputs again, if the run goes on.
    #[non_exhaustive]
    SessionLost {
        /// The turn in which it died.
        turn: u32,
        /// Why.
        reason: String,
    },
    /// Outputs were submitted that do not fit the signature.
    #[non_exhaustive]
    SubmissionRefused {
        /// The turn it belongs to.
        turn: u32,
        /// Which way was used.
        via: Via,
        /// What does not fit.
        problems: String,
    },
    /// The run ended with a prediction.
    #[non_exhaustive]
    RunFinished {
        /// How it ended.
        status: Status,
        /// The outputs.
        outputs: IndexMap<String, Value>,
        /// What the run used, sub-calls included.
        usage: Usage,
        /// Turns taken.
        turns: u32,
    },
    /// The run ended without one: it failed, was cancelled, or its future was dropped.
    #[non_exhaustive]
    RunFailed {
        /// The kind of its error.
        kind: ErrorKind,
        /// Why.
        error: String,
        /// What the run used until then.
        usage: Usage,
        /// Turns taken.
        turns: u32,
    },
    /// A run that had not come to its end goes on. The time in between does not count: `at` goes on from the
    /// last record before. A child has such a record where other limits lead it elsewhere than its record,
    /// which then says this of the child and of those below it alone. The record of a replay has one for each
    /// run of the tree where the limits changed in what it does again.
    #[non_exhaustive]
    RunResumed {
        /// Version of Abyme.
        abyme: String,
        /// Wall clock, in milliseconds since 1970.
        unix_ms: u64,
        /// How many of the records before this one the run goes on from. Those after them, if there are any,
        /// are set aside: other limits lead elsewhere. What they used still counts.
        records: u64,
        /// What calls used that no record here tells of: where this is the record of a replay, those that
        /// were set aside in the record that it does again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        set_aside: Option<Usage>,
        /// The limits that it goes on with, and those below it.
        limits: Limits,
        /// When its earlier turns are summarised from now on. Absent in records of before this was written
        /// down.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        compaction: Option<Compaction>,
        /// How many tokens its model can read at once from now on, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_input_tokens: Option<u64>,
        /// What is not as it was, for a person: a tool that changed, another model.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        notes: Vec<String>,
    },
    /// The session was kept in a file beside the record, so that a run that goes on begins with it.
    #[non_exhaustive]
    SessionSaved {
        /// The turn after whose cell it is.
        turn: u32,
        /// The name of the file, in the directory of the record.
        file: String,
        /// Its size.
        bytes: u64,
        /// The SHA-256 of it, in 64 hexadecimal digits.
        sha256: String,
    },
    /// The session of a run that goes on was brought up to date.
    #[non_exhaustive]
    SessionRebuilt {
        /// The turn whose cell comes next.
        turn: u32,
        /// The turn of the snapshot that it began with, if it began with one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        restored_turn: Option<u32>,
        /// How many cells ran again, with the recorded answers of their host calls.
        cells: u32,
        /// The cells that did not produce what they had produced before: then variables may differ too.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        differences: Vec<Difference>,
    },
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// What was answered to a call of a tool that asked for approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Approval {
    /// The call is made.
    Given,
    /// The call is not made, for this reason, which the model reads. It may be empty.
    Denied(String),
}

/// A source whose public functions are tools in Python, as a run had it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PythonToolSource {
    /// What it is called: `tools.py`.
    pub name: String,
    /// The SHA-256 of its text, in 64 hexadecimal digits.
    pub sha256: String,
}

impl PythonToolSource {
    pub(crate) fn new(name: &str, sha256: String) -> Self {
        Self { name: name.to_owned(), sha256 }
    }
}

/// The call that started a child run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ParentCall {
    /// The id of the run whose cell made it.
    pub run: String,
    /// Its number among the host calls of that run.
    pub call: u32,
    /// How many runs are above the child.
    pub depth: u32,
}

impl ParentCall {
    pub(crate) fn new(run: &str, call: u32, depth: u32) -> Self {
        Self { run: run.to_owned(), call, depth }
    }
}

/// A host call of some run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct CallRef {
    /// The id of the run.
    pub run: String,
    /// The number of the call among the host calls of that run.
    pub call: u32,
}

impl CallRef {
    pub(crate) fn new(run: &str, call: u32) -> Self {
        Self { run: run.to_owned(), call }
    }
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum CallOutcome<T> {
    /// It returned this.
    Result(T),
    /// It failed, and raised this in the cell.
    Error(HostError),
    /// It was dropped with its cell or its run before it ended, for this reason.
    Cancelled(String),
}

impl<T> CallOutcome<T> {
    /// Why the call gave nothing, if it did not.
    pub fn failure(&self) -> Option<&str> {
        match self {
            CallOutcome::Result(_) => None,
            CallOutcome::Error(error) => Some(&error.message),
            CallOutcome::Cancelled(reason) => Some(reason),
        }
    }
}

impl<T: Clone> CallOutcome<T> {
    pub(crate) fn of(result: &Result<T, HostError>) -> Self {
        match result {
            Ok(value) => CallOutcome::Result(value.clone()),
            Err(error) => CallOutcome::Error(error.clone()),
        }
    }
}

/// The run that a run is a fork of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ForkOrigin {
    /// Its id.
    pub run: String,
    /// The last turn that the two have in common.
    pub turn: u32,
    /// What the random numbers of the fork go on with, where those of the run had a seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// What that run was a fork of, if it was one from an earlier turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Box<ForkOrigin>>,
}

impl ForkOrigin {
    /// What the random numbers of the fork have as their seed in a turn, where that is not the run's own.
    pub(crate) fn seed_in(&self, turn: u32) -> Option<u64> {
        match turn > self.turn {
            true => self.seed,
            false => self.before.as_ref()?.seed_in(turn),
        }
    }
}

/// What a run did when it was run again, where that is not what its record says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Difference {
    /// The run of the tree, by the id in the record.
    pub run: String,
    /// The turn it belongs to; 0 is before the first.
    pub turn: u32,
    /// What differs, for a person: `the observation of the cell`.
    pub what: String,
    /// How it was.
    pub recorded: String,
    /// How it is now.
    pub now: String,
}

impl Difference {
    /// A call from a cell that the record does not have.
    pub(crate) fn of_call(turn: u32, function: &str, arguments: &IndexMap<String, Value>) -> Self {
        let arguments: Vec<_> =
            arguments.iter().map(|(name, value)| format!("{name}={}", value.repr(SHOWN_CHARS))).collect();
        Self {
            run: String::new(),
            turn,
            what: format!("a call of `{function}`"),
            recorded: "no such call".to_owned(),
            now: format!("{function}({})", arguments.join(", ")),
        }
    }

    /// Where it is, in one line: `turn 3 differs in the observation of the cell`.
    pub fn summary(&self) -> String {
        match self.turn {
            0 => format!("the beginning differs in {}", self.what),
            turn => format!("turn {turn} differs in {}", self.what),
        }
    }
}

/// `turn 3 differs in the observation of the cell`, then both, each in lines of its own.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: recorded was", self.summary())?;
        let indented = |text: &str| text.lines().map(|line| format!("\n  {line}")).collect::<String>();
        write!(f, "{}\nand now it is{}", indented(&self.recorded), indented(&self.now))
    }
}

impl std::error::Error for Difference {}

/// A generation that the loop ended: its cell was complete, and what followed would have been dropped. See
/// [`RlmBuilder::stop_early`](crate::RlmBuilder::stop_early).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct StoppedEarly {
    /// Characters that had come until then, thoughts included.
    pub received_chars: u64,
    /// Whether what the call used is estimated from that, because the provider had not said it yet.
    pub is_estimated: bool,
}

/// A part of a reply that comes in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ReplyPart {
    /// Its text.
    Text,
    /// What the model thinks before it answers, where the provider tells it apart from the text.
    Reasoning,
}

/// The purpose of a request to the root model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Purpose {
    /// A next cell.
    Act,
    /// A repair of a cell that does not compile; costs no iteration.
    Repair,
    /// The outputs from the conversation so far, because a limit was reached.
    Extract,
    /// A summary of the earlier turns, which takes their place; costs no iteration.
    Compact,
}

/// A watcher of runs: a progress display, a log, a file. Every `Fn(&Arc<Record>)` is one.
///
/// ```
/// # fn example(rlm: abyme_core::Rlm) {
/// use std::sync::Arc;
///
/// use abyme_core::{Record, inputs};
///
/// let run = rlm.run(inputs! {}).on_event(|record: &Arc<Record>| println!("{:?}", record.event));
/// # }
/// ```
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot watch the events of a run",
    note = "pass a closure whose argument has its type: `|record: &Arc<Record>| ...`",
    note = "or implement `EventSink`, and pass the value itself or an `Arc` of it"
)]
pub trait EventSink: Send + Sync {
    /// Takes note of an event. Called on the run's own task: it must be quick and must not block.
    fn record(&self, record: &Arc<Record>);

    /// Shows what is not part of the record: a piece of a reply as it comes ([`Event::ModelText`]), how many
    /// calls a cell asks for ([`Event::CallsAsked`]). Called as [`record`](Self::record) is, many times for
    /// each reply. Default: nothing is done with it.
    fn piece(&self, piece: &Arc<Record>) {
        let _ = piece;
    }

    /// Whether [`piece`](Self::piece) does anything. Pieces that nobody wants are not made. Default: no.
    fn wants_pieces(&self) -> bool {
        false
    }

    /// Waits until all events so far have arrived at their destination. Called before a run asks its model
    /// for the first time, before it calls a tool that [writes](Effect::Write), and at its end, before the
    /// run's future is done.
    async fn flush(&self) {}

    /// Why events are missing at their destination, if they are. Asked after a [`flush`](Self::flush): a run
    /// calls no tool that [writes](Effect::Write) whose call is missing in its record. Default: none are.
    fn failure(&self) -> Option<String> {
        None
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: EventSink + ?Sized> EventSink for Arc<T> {
    fn record(&self, record: &Arc<Record>) {
        (**self).record(record);
    }

    fn piece(&self, piece: &Arc<Record>) {
        (**self).piece(piece);
    }

    fn wants_pieces(&self) -> bool {
        (**self).wants_pieces()
    }

    async fn flush(&self) {
        (**self).flush().await;
    }

    fn failure(&self) -> Option<String> {
        (**self).failure()
    }
}

#[async_trait]
impl<F: Fn(&Arc<Record>) + Send + Sync> EventSink for F {
    fn record(&self, record: &Arc<Record>) {
        self(record);
    }
}

impl fmt::Debug for dyn EventSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventSink")
    }
}
