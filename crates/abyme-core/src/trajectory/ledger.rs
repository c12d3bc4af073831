//! The ledger of a run: what each call and cell used, what it belongs to, and the sums of it.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::event::{CallOutcome, Event, Record, StoppedEarly};
use crate::{interpreter::Observation, model::Usage};

/// What each model call, host call and cell of a run and its children used, and the sums of it. Made by
/// [`Trajectory::ledger`](super::Trajectory::ledger), also from a record that was read from a file.
///
/// Its sums are those of the calls, as the providers reported them; a call that a provider reported nothing
/// of, such as one that was cancelled, counts as a call of unknown size. `Display` is a table for people.
///
/// ```
/// # fn example(prediction: abyme_core::Prediction) {
/// let ledger = prediction.trajectory().ledger();
/// println!("{ledger}");
/// for (model, usage) in &ledger.by_model {
///     println!("{model}: {usage}");
/// }
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Ledger {
    /// Everything together: what [`Trajectory::usage`](super::Trajectory::usage) says of a run that is over.
    pub total: Usage,
    /// By the name of the model.
    pub by_model: IndexMap<String, Usage>,
    /// By how many runs are above the one that called: 0 is the run itself, 1 its children.
    pub by_depth: BTreeMap<u32, Usage>,
    /// By the turn of the run itself: its reply, and all that its cell caused, children included.
    pub by_turn: BTreeMap<u32, Usage>,
    /// The replies that were not generated to their end.
    #[serde(default)]
    pub stopped: StoppedReplies,
    /// In the order in which they began.
    pub entries: Vec<LedgerEntry>,
}

/// The replies that the loop ended before the model did, because their cell was complete. What was saved is
/// what they would have gone on with, which nobody knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct StoppedReplies {
    /// How many.
    pub replies: u64,
    /// Characters that came of them, thoughts included.
    pub received_chars: u64,
    /// Of how many the usage is estimated.
    pub estimated: u64,
}

/// One entry of a [`Ledger`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LedgerEntry {
    /// What it is.
    pub kind: EntryKind,
    /// The model, the tool or the host function that was called; `python` for a cell.
    pub name: String,
    /// The entry that caused it, as an index of [`Ledger::entries`]: the host call of a model call, the cell
    /// of a host call, the child that a turn belongs to. None for the turns of the run itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<usize>,
    /// The id of the run of the tree that it belongs to.
    pub run: String,
    /// How many runs are above that one.
    pub depth: u32,
    /// The turn of that run.
    pub turn: u32,
    /// The number of the host call in that run, for a host call and its model calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<u32>,
    /// When it began, in seconds since the start of the run.
    pub started: f64,
    /// How long it took.
    pub seconds: f64,
    /// What it used. For all but a model call: the sum of what it caused.
    pub usage: Usage,
    /// Why it failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// For a reply that the loop ended before the model did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<StoppedEarly>,
}

/// What an entry of a [`Ledger`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EntryKind {
    /// One try of a model call.
    ModelCall,
    /// A cell.
    Cell,
    /// A host call that asks a model: its tries are model calls of their own.
    SubCall,
    /// A host call that runs a tool.
    ToolCall,
    /// A host call that runs a child: its turns are model calls and cells of their own.
    Child,
}

/// What an entry says that the record ends before.
const UNFINISHED: &str = "the record ends before it does";

impl Ledger {
    pub(super) fn of<'a>(records: impl Iterator<Item = &'a Record>) -> Self {
        let mut reader = LedgerReader::default();
        records.for_each(|record| reader.read(record));
        reader.finish()
    }
}

/// Reads records in their order.
#[derive(Default)]
struct LedgerReader {
    entries: Vec<LedgerEntry>,
    /// The runs of the tree by their ids.
    runs: HashMap<String, OpenRun>,
    /// Entries that have begun and not ended.
    open: Vec<usize>,
    last: f64,
}

/// A run of the tree, as far as it was read.
#[derive(Default)]
struct OpenRun {
    depth: u32,
    /// The child that it is, among the entries.
    child: Option<usize>,
    model: String,
    /// The cell that runs, and the host calls by their numbers.
    cell: Option<usize>,
    calls: HashMap<u32, usize>,
    /// When the next try of a model call begins, by the number of its host call, after one that failed.
    next_try: HashMap<Option<u32>, f64>,
}

impl LedgerReader {
    fn read(&mut self, record: &Record) {
        let Record { run, at, event } = record;
        let at = *at;
        self.last = self.last.max(at);
        self.runs.entry(run.clone()).or_default();
        match event {
            Event::RunStarted { model, parent, .. } => {
                let open = self.run(run);
                open.model = model.clone();
                open.depth = parent.as_ref().map_or(0, |parent| parent.depth);
            }
            Event::ModelReplied { turn, usage, seconds, stopped, .. } => {
                let index = self.model_call(run, *turn, None, at - seconds, at, *usage, None);
                self.entries[index].stopped = *stopped;
            }
            Event::ModelCallFailed { turn, call, error, usage, seconds, retry_seconds, model, .. } => {
                let (error, begun) = (Some(error.clone()), at - seconds);
                let index = self.model_call(run, *turn, *call, begun, at, *usage, error);
                self.entries[index].name = model.clone();
                if let Some(backoff) = retry_seconds {
                    self.run(run).next_try.insert(*call, at + backoff);
                }
            }
            Event::CellStarted { turn, .. } => {
                let parent = self.run(run).child;
                let cell = self.begin(EntryKind::Cell, "python", parent, run, *turn, None, at);
                self.run(run).cell = Some(cell);
            }
            Event::CellFinished { observation, .. } => {
                if let Some(cell) = self.run(run).cell.take() {
                    self.end(cell, at, failure(observation));
                }
            }
            Event::SubCallStarted { turn, call, model, .. } => {
                self.host_call(EntryKind::SubCall, model, run, *turn, *call, at);
            }
            Event::SubCallFinished { turn, call, outcome, usage, .. } => {
                let asked = self.run(run).calls.get(call).copied();
                let begun = asked.map_or(at, |index| self.entries[index].started);
                // An answer that no call was made for, or that came after all tries had failed.
                if usage.calls > 0 {
                    self.model_call(run, *turn, Some(*call), begun, at, *usage, None);
                }
                self.host_call_ended(run, *call, at, error_of(outcome));
            }
            Event::ToolCallStarted { turn, call, tool, .. } => {
                self.host_call(EntryKind::ToolCall, tool, run, *turn, *call, at);
            }
            Event::ToolCallFinished { call, outcome, .. } => {
                self.host_call_ended(run, *call, at, error_of(outcome));
            }
            Event::ChildStarted { turn, call, function, child, .. } => {
                let index = self.host_call(EntryKind::Child, function, run, *turn, *call, at);
                let depth = self.run(run).depth + 1;
                let open = OpenRun { depth, child: Some(index), ..OpenRun::default() };
                self.runs.insert(child.clone(), open);
            }
            Event::ChildFinished { call, outcome, .. } => {
                self.host_call_ended(run, *call, at, error_of(outcome));
            }
            _ => {}
        }
    }

    fn run(&mut self, run: &str) -> &mut OpenRun {
        self.runs.entry(run.to_owned()).or_default()
    }

    #[allow(clippy::too_many_arguments, reason = "these are what an entry is made of")]
    fn begin(
        &mut self,
        kind: EntryKind,
        name: &str,
        parent: Option<usize>,
        run: &str,
        turn: u32,
        call: Option<u32>,
        at: f64,
    ) -> usize {
        let depth = self.run(run).depth;
        let entry = LedgerEntry {
            kind,
            name: name.to_owned(),
            parent,
            run: run.to_owned(),
            depth,
            turn,
            call,
            started: at,
            seconds: 0.0,
            usage: Usage::default(),
            error: None,
            stopped: None,
        };
        self.entries.push(entry);
        self.open.push(self.entries.len() - 1);
        self.entries.len() - 1
    }

    fn end(&mut self, index: usize, at: f64, error: Option<String>) {
        self.open.retain(|open| *open != index);
        let entry = &mut self.entries[index];
        entry.seconds = rounded(at - entry.started);
        entry.error = error;
    }

    fn host_call(&mut self, kind: EntryKind, name: &str, run: &str, turn: u32, call: u32, at: f64) -> usize {
        let open = self.run(run);
        let parent = open.cell.or(open.child);
        let index = self.begin(kind, name, parent, run, turn, Some(call), at);
        self.run(run).calls.insert(call, index);
        index
    }

    fn host_call_ended(&mut self, run: &str, call: u32, at: f64, error: Option<String>) {
        if let Some(index) = self.run(run).calls.get(&call).copied() {
            self.end(index, at, error);
        }
    }

    /// A try that ended at `at`. `begun` is when the first one of its call began.
    #[allow(clippy::too_many_arguments, reason = "these are what an entry is made of")]
    fn model_call(
        &mut self,
        run: &str,
        turn: u32,
        call: Option<u32>,
        begun: f64,
        at: f64,
        usage: Usage,
        error: Option<String>,
    ) -> usize {
        let open = self.run(run);
        let begun = open.next_try.remove(&call).unwrap_or(begun).clamp(0.0, at);
        let asked = call.and_then(|call| open.calls.get(&call).copied());
        let (parent, model) = (asked.or(open.child), open.model.clone());
        let name = asked.map_or(model, |index| self.entries[index].name.clone());
        let index = self.begin(EntryKind::ModelCall, &name, parent, run, turn, call, rounded(begun));
        self.end(index, at, error);
        self.entries[index].usage = usage;
        index
    }

    fn finish(mut self) -> Ledger {
        for index in std::mem::take(&mut self.open) {
            self.end(index, self.last, Some(UNFINISHED.to_owned()));
        }
        let mut ledger = Ledger::default();
        for stopped in self.entries.iter().filter_map(|entry| entry.stopped) {
            ledger.stopped.replies += 1;
            ledger.stopped.received_chars += stopped.received_chars;
            ledger.stopped.estimated += u64::from(stopped.is_estimated);
        }
        for index in 0..self.entries.len() {
            let LedgerEntry {
                kind: EntryKind::ModelCall, ref name, depth, mut turn, usage, mut parent, ..
            } = self.entries[index]
            else {
                continue;
            };
            ledger.total += usage;
            *ledger.by_model.entry(name.clone()).or_default() += usage;
            *ledger.by_depth.entry(depth).or_default() += usage;
            // An entry's parent began before it, so the loop ends.
            while let Some(above) = parent {
                let entry = &mut self.entries[above];
                entry.usage += usage;
                (turn, parent) = (entry.turn, entry.parent);
            }
            *ledger.by_turn.entry(turn).or_default() += usage;
        }
        ledger.entries = self.in_order();
        ledger
    }

    /// The entries in the order in which they began: a try is known only when it ends.
    fn in_order(self) -> Vec<LedgerEntry> {
        let mut order: Vec<usize> = (0..self.entries.len()).collect();
        order.sort_by(|a, b| self.entries[*a].started.total_cmp(&self.entries[*b].started));
        let mut places = vec![0; order.len()];
        order.iter().enumerate().for_each(|(place, index)| places[*index] = place);
        let mut entries: Vec<_> = self.entries.into_iter().map(Some).collect();
        let moved = order.iter().filter_map(|index| entries[*index].take());
        moved.map(|entry| LedgerEntry { parent: entry.parent.map(|index| places[index]), ..entry }).collect()
    }
}

/// Whole microseconds, as records have them.
fn rounded(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}

fn error_of<T>(outcome: &CallOutcome<T>) -> Option<String> {
    outcome.failure().map(str::to_owned)
}

fn failure(observation: &Observation) -> Option<String> {
    observation.check().err().map(|error| error.message().to_owned())
}

/// A table: a line for each model, depth and turn, and one for all.
impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls = |chosen: &dyn Fn(&LedgerEntry) -> bool| -> f64 {
            let of = self.entries.iter().filter(|entry| entry.kind == EntryKind::ModelCall && chosen(entry));
            of.map(|entry| entry.seconds).sum()
        };
        let header = ["", "calls", "input", "cached", "output", "reasoning", "cost", "seconds"];
        let mut rows = vec![header.map(str::to_owned)];
        for (model, usage) in &self.by_model {
            rows.push(row(model.clone(), usage, calls(&|entry| &entry.name == model)));
        }
        if self.by_depth.len() > 1 {
            for (depth, usage) in &self.by_depth {
                rows.push(row(format!("depth {depth}"), usage, calls(&|entry| entry.depth == *depth)));
            }
        }
        let turns = self.turns();
        for (turn, usage) in &self.by_turn {
            let seconds = turns.get(turn).copied().unwrap_or_default();
            rows.push(row(format!("turn {turn}"), usage, seconds));
        }
        rows.push(row("total".to_owned(), &self.total, turns.values().sum()));
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; 8] = std::array::from_fn(width);
        for (index, row) in rows.iter().enumerate() {
            let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| match column {
                0 => format!("{cell:width$}"),
                _ => format!("{cell:>width$}"),
            });
            let line = cells.collect::<Vec<_>>().join("  ");
            f.write_str(line.trim_end())?;
            if index + 1 < rows.len() {
                f.write_str("\n")?;
            }
        }
        match self.stopped {
            StoppedReplies { replies: 0, .. } => Ok(()),
            StoppedReplies { replies, estimated, .. } => {
                let ends = if replies == 1 { "reply was" } else { "replies were" };
                write!(
                    f,
                    "\n{replies} {ends} stopped at the end of the cell; what {estimated} used is estimated"
                )
            }
        }
    }
}

impl Ledger {
    /// How long the turns of the run itself took: the calls of its model and its cells.
    fn turns(&self) -> BTreeMap<u32, f64> {
        let mut turns = BTreeMap::new();
        for entry in self.entries.iter().filter(|entry| entry.parent.is_none()) {
            *turns.entry(entry.turn).or_default() += entry.seconds;
        }
        turns
    }
}

fn row(name: String, usage: &Usage, seconds: f64) -> [String; 8] {
    let count = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), |count| count.to_string());
    [
        name,
        usage.calls.to_string(),
        count(usage.input_tokens),
        count(usage.cached_tokens),
        count(usage.output_tokens),
        count(usage.reasoning_tokens),
        usage.cost.map_or_else(|| "-".to_owned(), |dollars| format!("${dollars:.4}")),
        format!("{seconds:.1}"),
    ]
}

#[cfg(test)]
mod tests;
