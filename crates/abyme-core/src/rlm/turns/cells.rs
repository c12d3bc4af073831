//! Runs the cells of a run: for the first time, or once more where the record has them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{MissedCell, Turns};
use crate::{
    error::{Error, ErrorKind, Result},
    interpreter::{Cell, CodeInterpreter, Observation, Session, Stage},
    rlm::{
        calls::host::CellHost,
        kept_session::KeptSession,
        resume::answers::{AnswerMode, Answers, Tally, unfinished_among},
        start::RunParts,
    },
    telemetry,
    trajectory::{Event, PastCell, Record, difference_of},
};

/// What a cell produced, and what the host has to say about it.
pub(super) type CellOutcome = (Observation, Vec<String>);

impl Turns<'_> {
    /// Runs a cell. If the session dies in it, that is an observation too: the model reads of it. Gives also
    /// what the host has to say about the cell.
    pub(super) async fn execute(
        &self,
        session: &mut Session,
        cell: Cell,
        answers: &Answers,
    ) -> Result<CellOutcome> {
        let (observation, notes) = self.observe(session, cell, answers, self.turn).await?;
        self.recorder.record(Event::CellFinished {
            turn: self.turn,
            observation: observation.clone(),
            notes: notes.clone(),
            sub_calls: self.budget.sub_calls(),
        });
        Ok((observation, notes))
    }

    pub(super) async fn observe(
        &self,
        session: &mut Session,
        cell: Cell,
        answers: &Answers,
        turn: u32,
    ) -> Result<CellOutcome> {
        let RunParts { tool_uses, effects, .. } = self.parts;
        let host = CellHost::new(&self.caller, self.start, tool_uses, effects, turn, answers);
        let span = telemetry::cell(turn, &cell.code, self.config.span_content);
        let started = Instant::now();
        let mut observation = match telemetry::within(&span, session.execute(cell, &host)).await {
            Ok(observation) => observation,
            Err(error) if error.is_session_lost() => Observation {
                session_ended: Some(error.message().to_owned()),
                duration: started.elapsed(),
                ..Observation::default()
            },
            Err(error) => return Err(error),
        };
        telemetry::observed(&span, &observation);
        // Rounded as it is written, so that a record reads back equal.
        observation.duration =
            Duration::from_micros(observation.duration.as_micros().try_into().unwrap_or(u64::MAX));
        Ok((observation, host.notes()))
    }

    /// A cell that is in the record: what it produced then, where that is known and the run is not replayed.
    pub(super) async fn execute_again(
        &mut self,
        holder: &mut Option<KeptSession>,
        cell: Cell,
        PastCell { calls, finished }: PastCell,
    ) -> Result<CellOutcome> {
        let recorder = self.recorder;
        let Some(past) = recorder.past() else {
            let session = &mut self.session(holder, self.turn).await?.session;
            return self.execute(session, cell, &Answers::default()).await;
        };
        let is_replay = past.is_replay();
        let ended = finished.as_ref().and_then(|record| match &record.event {
            Event::CellFinished { observation, notes, sub_calls, .. } => {
                Some((observation.clone(), notes.clone(), *sub_calls))
            }
            _ => None,
        });
        let Some((observation, notes, sub_calls)) = ended else {
            if past.goes_on_with_outputs() {
                self.recall(&Tally::of_all(past, &calls));
                let message = "the run was asked to end in this cell";
                return Err(Error::new(ErrorKind::Cancelled, message));
            }
            recorder.check_live(self.turn)?;
            // The record ends in it. What it was answered is answered again, and the rest is asked.
            let answers = Answers::of(past, &calls, AnswerMode::Open);
            let effects = self.parts.effects;
            if is_replay
                && let Err(error) =
                    effects.check_unfinished(unfinished_among(&calls), &self.config.tools).await
            {
                effects.end(error).await;
            }
            self.recall(&Tally::of_returned(past, &calls));
            let session = &mut self.session(holder, self.turn).await?.session;
            recorder.go_live();
            return self.execute(session, cell, &answers).await;
        };
        if !is_replay {
            self.recall(&Tally::of_all(past, &calls));
            self.recall_sub_calls(sub_calls);
            // What did not run leaves nothing behind but the variables that came with it.
            let did_run = observation.error.as_ref().is_none_or(|error| error.stage == Stage::Run);
            let is_kept = observation.restored.is_none() && (did_run || !cell.variables.is_empty());
            if is_kept {
                let (turn, observation) = (self.turn, observation.clone());
                self.missed.push(MissedCell { turn, cell, calls, observation });
            }
            return Ok((observation, notes));
        }
        let answers = Answers::of(past, &calls, AnswerMode::Replay);
        let session = &mut self.session(holder, self.turn).await?.session;
        let now = self.observe(session, cell, &answers, self.turn).await?;
        let difference = difference_of(past.run(), self.turn, &observation, &now.0);
        difference.into_iter().for_each(|difference| past.tree().differs(difference));
        recorder.check_same()?;
        self.recall(&Tally::of_replayed(past, &calls));
        self.recall_sub_calls(sub_calls);
        if past.tree().difference().is_some() {
            past.leave();
            let (observation, notes) = now;
            recorder.record(Event::CellFinished {
                turn: self.turn,
                observation: observation.clone(),
                notes: notes.clone(),
                sub_calls: self.budget.sub_calls(),
            });
            return Ok((observation, notes));
        }
        // Children ran again, and recorded themselves and the calls that started them.
        let children: Vec<u32> = calls
            .iter()
            .filter_map(|record| match record.event {
                Event::ChildStarted { call, .. } => Some(call),
                _ => None,
            })
            .collect();
        let is_of_child = |record: &&Arc<Record>| match &record.event {
            Event::ChildStarted { .. } | Event::ChildFinished { .. } => true,
            Event::HostCallReturned { calls, .. } => calls.iter().any(|call| children.contains(call)),
            _ => false,
        };
        calls.iter().filter(|record| !is_of_child(record)).for_each(|record| recorder.know(record));
        finished.iter().for_each(|record| recorder.know(record));
        Ok((observation, notes))
    }

    /// Counts as many sub-calls as the tree had taken then, those that were refused or cut off too. Beside a
    /// child, others of the tree take some at the same time.
    pub(super) fn recall_sub_calls(&self, in_all: u32) {
        if self.budget.depth() == 0 {
            self.budget.recall_sub_calls(in_all);
        }
    }

    /// Whether the record still answers, so that the session, if there is one, is that of its end.
    pub(super) fn is_resuming(&self) -> bool {
        let past = self.recorder.past();
        past.is_some_and(|past| !past.is_over() && !past.is_replay())
    }

    /// Counts what the record says was used.
    pub(super) fn recall(&self, tally: &Tally) {
        self.budget.recall(tally.usage, tally.sub_calls);
        tally.tools.iter().for_each(|tool| self.parts.tool_uses.recall(tool));
    }
}
