//! A fork of a run: its record up to a turn, under an id of its own.

use std::sync::Arc;

use super::{
    Trajectory,
    event::{Event, ForkOrigin, Purpose, Record},
    past::kept,
};
use crate::error::{Error, ErrorKind, Result};

impl Trajectory {
    /// The record up to the end of `turn`, as that of the run `id`; 0 is before the first turn. `seed` is
    /// what the random numbers of the fork go on with.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if there is no such turn, or the run ended in it.
    pub(crate) fn forked(&self, turn: u32, id: &str, seed: u64) -> Result<Trajectory> {
        let refused = |message| Err(Error::new(ErrorKind::InvalidInput, message).operation("Rlm::fork"));
        let (run, records) = (self.run().to_owned(), kept(&self.records));
        let own = |(_, record): &&(usize, Arc<Record>)| record.run == run;
        let turns = records.iter().filter(own).filter_map(|(_, record)| replied_in(&record.event)).max();
        let turns = turns.unwrap_or_default();
        if turn > turns {
            let message = format!("the run cannot be forked at turn {turn}: its record has {turns} turns");
            return refused(message);
        }
        let is_end = |record: &Arc<Record>| match turn {
            0 => matches!(record.event, Event::RunStarted { .. }),
            _ => ends_turn(&record.event, turn),
        };
        let Some(end) = records.iter().rposition(|(_, record)| record.run == run && is_end(record)) else {
            return refused(format!("the run cannot be forked at turn {turn}: the turn has not ended"));
        };
        let is_over = records[end + 1..]
            .iter()
            .filter(own)
            .any(|(_, record)| matches!(record.event, Event::RunFinished { .. }) && turn == turns);
        if is_over && matches!(&records[end].1.event, Event::CellFinished { .. }) {
            let message = format!("the run ended in turn {turn}: fork it at an earlier one");
            return refused(message);
        }
        let (is_seeded, mut before) = match &records[0].1.event {
            Event::RunStarted { seed, forked_from, .. } => (seed.is_some(), forked_from.as_ref()),
            _ => (false, None),
        };
        // A fork that began later has nothing in common with this one but what both have of the run above.
        while let Some(later) = before.take_if(|before| before.turn >= turn) {
            before = later.before.as_deref();
        }
        let (seed, before) = (is_seeded.then_some(seed), before.cloned().map(Box::new));
        let origin = ForkOrigin { run: run.clone(), turn, seed, before };
        // What was set aside before is paid for too, and where the run went on says by which limits.
        let forked = self.records[..=records[end].0].iter();
        let forked = forked.map(|record| relabelled(record, &run, id, &origin));
        Ok(Trajectory { records: forked.collect() })
    }
}

fn replied_in(event: &Event) -> Option<u32> {
    match event {
        Event::ModelReplied { turn, purpose: Purpose::Act | Purpose::Repair, .. } => Some(*turn),
        _ => None,
    }
}

/// Whether the event is one that a turn may end with. What follows it belongs to the next request.
fn ends_turn(event: &Event, number: u32) -> bool {
    match event {
        Event::CellFinished { turn, .. }
        | Event::SubmissionRefused { turn, .. }
        | Event::SessionLost { turn, .. } => *turn == number,
        Event::ReplyRefused { turn, purpose: Purpose::Act | Purpose::Repair, .. } => *turn == number,
        _ => false,
    }
}

fn relabelled(record: &Arc<Record>, run: &str, id: &str, origin: &ForkOrigin) -> Arc<Record> {
    let mut record = record.clone();
    let is_own = record.run == run;
    if is_own {
        id.clone_into(&mut Arc::make_mut(&mut record).run);
    }
    match &record.event {
        Event::RunStarted { .. } | Event::SubCallFinished { answered_by: Some(_), .. } => {}
        _ => return record,
    }
    match &mut Arc::make_mut(&mut record).event {
        Event::RunStarted { forked_from, .. } if is_own => *forked_from = Some(origin.clone()),
        Event::RunStarted { parent: Some(parent), .. } if parent.run == run => {
            id.clone_into(&mut parent.run);
        }
        Event::SubCallFinished { answered_by: Some(by), .. } if by.run == run => id.clone_into(&mut by.run),
        _ => {}
    }
    record
}
