//! What a run goes by that may be otherwise when it goes on: its limits, and when its turns are summarised.
//!
//! A record says where which terms hold. So a run that is executed again goes by them in the part of the
//! record that they are of: what was decided and said then is decided and said again.

use std::{collections::HashSet, sync::Arc};

use super::event::{Event, Record};
use crate::{compaction::Compaction, limits::Limits};

/// What a run goes by.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Terms {
    pub(crate) limits: Limits,
    pub(crate) summaries: Summaries,
}

/// When the earlier turns of a run are summarised.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Summaries {
    pub(crate) compaction: Compaction,
    /// How many tokens the run's model can read at once, where that is known.
    pub(crate) max_input_tokens: Option<u64>,
}

/// The terms in a part of the record of one run.
#[derive(Clone, Debug)]
pub(super) struct PartTerms {
    /// Where the part begins, in the whole record.
    from: usize,
    /// The limits, as the record has them.
    pub(super) recorded: Limits,
    /// The same, but for what the run is to have otherwise now that it is executed again.
    pub(super) followed: Limits,
    /// None in records of before this was written down.
    pub(super) summaries: Option<Summaries>,
}

impl PartTerms {
    /// The part of these that a place of the whole record is in.
    pub(super) fn at(parts: &[Self], index: usize) -> Option<&Self> {
        let next = parts.partition_point(|part| part.from <= index);
        parts[..next].last()
    }
}

/// The terms of all runs of a record.
#[derive(Debug)]
pub(super) struct PastTerms {
    begun: Vec<NewTerms>,
    /// The limits that the root went on with last.
    newest: Limits,
    /// Those that it is to have now.
    asked: Limits,
}

/// Terms that begin to hold for a run and, as far as they are limits, for those below it.
#[derive(Debug)]
struct NewTerms {
    run: String,
    from: usize,
    limits: Limits,
    summaries: Option<Summaries>,
}

impl PastTerms {
    /// The terms that a whole record tells of, which is executed again with these limits.
    pub(super) fn of(records: &[Arc<Record>], asked: &Limits) -> Self {
        let begun = records.iter().enumerate().filter_map(|(from, record)| {
            let (limits, compaction, tokens) = match &record.event {
                Event::RunStarted { limits, compaction, max_input_tokens, .. }
                | Event::RunResumed { limits, compaction, max_input_tokens, .. } => {
                    (limits, compaction, *max_input_tokens)
                }
                _ => return None,
            };
            let summaries =
                compaction.clone().map(|compaction| Summaries { compaction, max_input_tokens: tokens });
            Some(NewTerms { run: record.run.clone(), from, limits: limits.clone(), summaries })
        });
        let begun: Vec<_> = begun.collect();
        let root = records.first().map_or("", |record| &record.run);
        let newest = begun.iter().rev().find(|begun| begun.run == root);
        let newest = newest.map_or_else(|| asked.clone(), |begun| begun.limits.clone());
        Self { begun, newest, asked: asked.clone() }
    }

    /// Whether the root is to have more time than it had.
    pub(super) fn has_more_time(&self) -> bool {
        let now = self.asked.run_timeout;
        self.newest.run_timeout.is_some_and(|had| now.is_none_or(|now| now > had))
    }

    /// The parts of the record of `run`, which is one of `line`: it and those above it.
    pub(super) fn parts(&self, run: &str, line: &HashSet<&str>) -> Vec<PartTerms> {
        let mut summaries = None;
        let of_line = self.begun.iter().filter(|begun| line.contains(begun.run.as_str()));
        let parts = of_line.map(|begun| {
            if begun.run == run {
                summaries.clone_from(&begun.summaries);
            }
            PartTerms {
                from: begun.from,
                recorded: begun.limits.clone(),
                followed: begun.limits.changed(&self.newest, &self.asked),
                summaries: summaries.clone(),
            }
        });
        parts.collect()
    }
}
