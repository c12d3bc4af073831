//! Whether a record is complete up to its last event.

use std::{collections::HashSet, fs, path::Path};

use abyme::{Event, Trajectory};

/// Reads a record that a crash may have ended, and checks that it is the beginning of a run: every line is
/// whole but the last, and nothing ends that has not begun, ends twice, or comes after the end.
///
/// `None` where the crash came before the first line was whole.
pub(crate) fn beginning_of_a_run(path: &Path) -> Option<Trajectory> {
    let bytes = fs::read(path).ok()?;
    let whole = bytes.iter().filter(|byte| **byte == b'\n').count();
    if whole < 2 {
        return None;
    }
    let record = Trajectory::load(path).unwrap_or_else(|error| panic!("{}: {error:?}", path.display()));
    let events: Vec<_> = record.events().collect();
    assert!(matches!(events.first(), Some(Event::RunStarted { .. })), "{}", path.display());
    let (mut cell, mut calls, mut is_over) = (None, HashSet::new(), false);
    for event in events {
        assert!(!is_over || matches!(event, Event::RunResumed { .. }), "{}: {event:?}", path.display());
        match event {
            Event::CellStarted { turn, .. } => {
                assert!(cell.replace(*turn).is_none_or(|other| other <= *turn))
            }
            Event::CellFinished { turn, .. } => assert_eq!(cell.take(), Some(*turn)),
            Event::SubCallStarted { call, .. } | Event::ToolCallStarted { call, .. } => {
                assert!(calls.insert(*call), "call {call} begins twice in {}", path.display());
            }
            Event::SubCallFinished { call, .. } | Event::ToolCallFinished { call, .. } => {
                assert!(calls.remove(call), "call {call} ends in {} and has not begun", path.display());
            }
            Event::RunFinished { .. } | Event::RunFailed { .. } => {
                assert!(calls.is_empty(), "calls {calls:?} have no end in {}", path.display());
                is_over = true;
            }
            // A call that had begun and has no end is begun again, under another number; a cell goes on.
            Event::RunResumed { .. } => {
                is_over = false;
                calls.clear();
            }
            _ => {}
        }
    }
    Some(record)
}

/// Whether the record has the end of its run.
pub(crate) fn is_over(record: &Trajectory) -> bool {
    matches!(record.events().last(), Some(Event::RunFinished { .. } | Event::RunFailed { .. }))
}
