//! What one run used, as one line of a table.

use std::collections::HashSet;

use abyme_core::{EntryKind, Event, Ledger, LedgerEntry, Trajectory};
use serde::Serialize;

/// What a run and its children used, and where its time went.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RunFigures {
    /// What its record is called.
    pub file: String,
    /// Its id.
    pub run: String,
    /// What its caller calls it.
    pub label: Option<String>,
    /// Its instructions, or else its signature's fields.
    pub task: String,
    /// The model that plans.
    pub model: String,
    /// How it ended: the status of its outputs, `failed`, or `unfinished` where the record ends before it.
    pub status: String,
    /// Its turns.
    pub turns: usize,
    /// Model calls other than its turns: those of its cells, and all of its children.
    pub sub_calls: usize,
    /// Runs below it.
    pub children: usize,
    /// Tokens of all requests.
    pub input_tokens: Option<u64>,
    /// Those of them from a provider's cache.
    pub cached_tokens: Option<u64>,
    /// Tokens of all replies.
    pub output_tokens: Option<u64>,
    /// Those of them that were reasoning.
    pub reasoning_tokens: Option<u64>,
    /// US dollars.
    pub cost: Option<f64>,
    /// From its first event to its last, in seconds.
    pub wall_seconds: f64,
    /// Of these, in which its model wrote.
    pub model_seconds: f64,
    /// In which Python ran and waited for no host call.
    pub python_seconds: f64,
    /// In which a host call was under way: sub-calls, children, tools.
    pub call_seconds: f64,
    /// What is left: sessions that start, pauses between tries.
    pub other_seconds: f64,
}

impl RunFigures {
    /// The figures of a record. `file` is what it is called.
    #[must_use]
    pub fn of(file: impl Into<String>, trajectory: &Trajectory) -> Self {
        let run = trajectory.run().to_owned();
        let ledger = trajectory.ledger();
        let mut figures = Self { file: file.into(), run, ..Self::default() };
        figures.read(trajectory);
        let total = ledger.total;
        figures.input_tokens = total.input_tokens;
        figures.cached_tokens = total.cached_tokens;
        figures.output_tokens = total.output_tokens;
        figures.reasoning_tokens = total.reasoning_tokens;
        figures.cost = total.cost;
        figures.split(&ledger);
        figures
    }

    /// What the run is called in a table: its label, or its record.
    #[must_use]
    pub fn name(&self) -> &str {
        self.label.as_deref().unwrap_or(&self.file)
    }

    /// Whether the model ended the run by itself.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        matches!(self.status.as_str(), "submitted" | "answered")
    }

    fn read(&mut self, trajectory: &Trajectory) {
        self.status = "unfinished".to_owned();
        let (mut first, mut last, mut turns) = (None, 0.0_f64, HashSet::new());
        for record in trajectory.records() {
            let is_own = record.run == self.run;
            first.get_or_insert(record.at);
            last = last.max(record.at);
            match &record.event {
                Event::RunStarted { label, signature, model, .. } if is_own => {
                    self.label.clone_from(label);
                    self.model.clone_from(model);
                    let task = signature.instructions().map_or_else(|| signature.to_string(), str::to_owned);
                    self.task = task.lines().next().unwrap_or_default().to_owned();
                }
                Event::RunResumed { .. } if is_own => self.status = "unfinished".to_owned(),
                Event::RunFinished { status, .. } if is_own => self.status = status.to_string(),
                Event::RunFailed { .. } if is_own => self.status = "failed".to_owned(),
                Event::SubCallStarted { .. } => self.sub_calls += 1,
                Event::ChildStarted { .. } => self.children += 1,
                Event::ModelReplied { turn, .. } => {
                    turns.insert((record.run.as_str(), *turn));
                }
                _ => {}
            }
        }
        self.turns = turns.iter().filter(|(run, _)| *run == self.run).count();
        self.sub_calls += turns.len() - self.turns;
        self.wall_seconds = last - first.unwrap_or_default();
    }

    /// Where the time of the run itself went. Calls of one cell overlap, and count once.
    fn split(&mut self, ledger: &Ledger) {
        let entries = &ledger.entries;
        let interval = |entry: &LedgerEntry| (entry.started, entry.started + entry.seconds);
        let own = |kind: EntryKind| {
            let of_kind = entries.iter().filter(move |entry| entry.kind == kind && entry.parent.is_none());
            of_kind.map(interval).collect::<Vec<_>>()
        };
        let is_call = |entry: &&LedgerEntry| {
            let is_host_call =
                matches!(entry.kind, EntryKind::SubCall | EntryKind::ToolCall | EntryKind::Child);
            is_host_call && entry.run == self.run
        };
        let calls: Vec<_> = entries.iter().filter(is_call).map(interval).collect();
        self.model_seconds = covered(own(EntryKind::ModelCall));
        self.call_seconds = covered(calls.clone());
        let cells = covered(own(EntryKind::Cell).into_iter().chain(calls).collect());
        self.python_seconds = cells - self.call_seconds;
        let known = self.model_seconds + self.call_seconds + self.python_seconds;
        self.other_seconds = (self.wall_seconds - known).max(0.0);
    }
}

/// How long at least one of these is under way.
fn covered(mut intervals: Vec<(f64, f64)>) -> f64 {
    intervals.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut sum, mut until) = (0.0, f64::MIN);
    for (from, to) in intervals {
        if to > until {
            sum += to - from.max(until);
            until = to;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps_count_once() {
        assert_eq!(covered(vec![(5.0, 6.0), (0.0, 2.0), (1.0, 3.0), (1.5, 1.6)]), 4.0);
        assert_eq!(covered(Vec::new()), 0.0);
    }
}
