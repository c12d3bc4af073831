//! The session of a run: opened with its inputs, brought up to date from the record, copied for forks.

use std::sync::Arc;

use tokio::task::yield_now;

use super::{MissedCell, Turns};
use crate::{
    error::{Error, ErrorKind, Result},
    inputs::Inputs,
    interpreter::{Cell, CodeInterpreter, Determinism, Session},
    prompt,
    rlm::{
        kept_session::KeptSession,
        objects,
        resume::{
            answers::{AnswerMode, Answers},
            forks::ForkPoint,
        },
        session_snapshots::SavedSession,
    },
    trajectory::{Event, difference_of},
};

impl Turns<'_> {
    /// Makes the forks that are asked for at the end of the turn.
    pub(super) async fn make_forks(&self, holder: &mut Option<KeptSession>) {
        let Some(forks) = self.parts.forks.filter(|_| !self.repairing) else { return };
        let due = forks.due(self.turn);
        let are_due = !due.is_empty();
        for request in due {
            let session = match holder.as_mut().filter(|_| request.turn == self.turn && !self.is_resuming()) {
                Some(kept) if kept.session.capabilities().fork => {
                    let (inputs, seed) = (kept.inputs.clone(), kept.seed);
                    let forked = kept.session.fork().await;
                    forked.map(|session| KeptSession { session, inputs, seed }).ok()
                }
                _ => None,
            };
            request.answer(ForkPoint { trajectory: self.recorder.trajectory(), session });
        }
        if are_due {
            // They begin now, also where nothing in the next turn of this run waits.
            yield_now().await;
        }
    }

    /// The session of the run, for the cell of this turn: opened where there is none, and brought up to date.
    pub(super) async fn session<'s>(
        &mut self,
        holder: &'s mut Option<KeptSession>,
        turn: u32,
    ) -> Result<&'s mut KeptSession> {
        let mut kept = match holder.take() {
            Some(mut kept) => {
                if self.parts.earlier.is_some() {
                    // The session of a conversation is as it was before the question.
                    self.rebuild(&mut kept).await?;
                }
                kept
            }
            None => {
                let mut kept = match self.restore_session().await {
                    Some(kept) => kept,
                    None => {
                        let turn = self.missed.first().map_or(turn, |cell| cell.turn);
                        self.open_session(turn).await?
                    }
                };
                self.rebuild(&mut kept).await?;
                kept
            }
        };
        self.seed_for(&mut kept, turn).await?;
        Ok(holder.insert(kept))
    }

    /// What the random numbers of a session have as their seed in a turn. Forks of one run draw different
    /// numbers.
    fn seed(&self, turn: u32) -> Option<u64> {
        self.parts.forked_from.and_then(|origin| origin.seed_in(turn)).or(self.parts.seed)
    }

    /// Seeds the random numbers of a session for a turn, where it is the first one with this seed.
    async fn seed_for(&self, kept: &mut KeptSession, turn: u32) -> Result<()> {
        match self.seed(turn) {
            seed if kept.seed != seed => self.put_in(kept, seed).await,
            _ => Ok(()),
        }
    }

    /// Has the session of a conversation hold what the question did, also where the record had all of it. One
    /// that cannot is none: the next question begins with a new one, and its model is told.
    pub(super) async fn catch_up(&mut self, holder: &mut Option<KeptSession>) {
        if self.parts.earlier.is_some()
            && !self.missed.is_empty()
            && let Err(error) = self.session(holder, self.turn).await
        {
            tracing::warn!(%error, "the session of a conversation is lost");
            *holder = None;
        }
    }

    /// Runs the cells that the record answered, with its answers of their calls.
    pub(super) async fn rebuild(&mut self, kept: &mut KeptSession) -> Result<()> {
        let (missed, Some(past)) = (std::mem::take(&mut self.missed), self.recorder.past()) else {
            return Ok(());
        };
        let mut differences = Vec::new();
        let cells = u32::try_from(missed.len()).unwrap_or(u32::MAX);
        for MissedCell { turn, mut cell, calls, observation } in missed {
            self.seed_for(kept, turn).await?;
            let answers = Answers::of(past, &calls, AnswerMode::Closed);
            if !self.missing_tools.is_empty() {
                let mut scope = (*cell.scope).clone();
                scope.functions.extend(self.missing_tools.iter().cloned());
                cell.scope = Arc::new(scope);
            }
            let (now, _) = self.observe(&mut kept.session, cell.total_timeout(None), &answers, turn).await?;
            if let Some(reason) = now.session_ended {
                let message = format!("the session died when cell {turn} of the record ran again: {reason}");
                return Err(Error::new(ErrorKind::SessionEnded, message).operation("Rlm::resume"));
            }
            self.session_files.iter_mut().for_each(|files| files.spent(now.duration));
            differences.extend(difference_of(past.run(), turn, &observation, &now));
        }
        for difference in &differences {
            tracing::warn!(turn = difference.turn, "a cell ran again and did not do what it had done");
        }
        // Where the record goes on, nothing is to be added to it yet.
        let restored_turn = self.restored_turn.take();
        if (cells > 0 || restored_turn.is_some()) && !self.is_resuming() {
            let turn = self.turn;
            self.recorder.record(Event::SessionRebuilt { turn, restored_turn, cells, differences });
        }
        Ok(())
    }

    /// Keeps the session in a file beside the record, where it is time for that.
    pub(super) async fn keep_session(&mut self, holder: &mut Option<KeptSession>) {
        let is_between_turns = !self.repairing && !self.is_resuming();
        let (Some(kept), Some(files)) = (holder, &mut self.session_files) else { return };
        if !is_between_turns || !files.is_due() || !kept.session.capabilities().snapshot {
            return;
        }
        let is_deterministic = self.parts.session_unix_ms.is_some();
        let saved = match kept.snapshot(is_deterministic, self.config).await {
            Ok(snapshot) => files.save(self.turn, snapshot).await,
            Err(error) => {
                files.put_off();
                Err(error)
            }
        };
        match saved {
            Ok(Some(saved)) => {
                let SavedSession { turn, file, bytes, sha256 } = saved;
                self.recorder.record(Event::SessionSaved { turn, file, bytes, sha256 });
                // What is not on its way to the disk yet may still be lost: then the earlier one is needed.
                self.recorder.flush().await;
                files.remove_others(Some(turn)).await;
            }
            Ok(None) => tracing::info!("the session is too large to be kept beside its record"),
            Err(error) => tracing::warn!(%error, "the session is not kept beside its record"),
        }
    }

    /// The session of the newest snapshot that is of the session that is missed. Cells that it knows need not
    /// run again.
    async fn restore_session(&mut self) -> Option<KeptSession> {
        let (past, files) = (self.recorder.past()?, self.session_files.as_ref()?);
        let (first, last) = (self.missed.first()?.turn, self.missed.last()?.turn);
        if past.is_replay() {
            return None;
        }
        for record in past.saved_sessions() {
            let Event::SessionSaved { turn, file, bytes, sha256 } = &record.event else { continue };
            if !(first..=last).contains(turn) {
                continue;
            }
            let saved =
                SavedSession { turn: *turn, file: file.clone(), bytes: *bytes, sha256: sha256.clone() };
            let restored = match files.load(&saved).await {
                Ok(snapshot) => self.restored(&snapshot, *turn).await.map_err(|error| error.to_string()),
                Err(problem) => Err(problem),
            };
            match restored {
                Ok(kept) => {
                    self.missed.retain(|cell| cell.turn > *turn);
                    self.restored_turn = Some(*turn);
                    return Some(kept);
                }
                Err(problem) => {
                    tracing::warn!(turn, problem, "a kept session cannot be used, and its cells run again");
                }
            }
        }
        None
    }

    /// The session that was kept after a turn.
    async fn restored(&self, snapshot: &[u8], turn: u32) -> Result<KeptSession> {
        let session = self.config.factory.restore(snapshot).await?;
        let (inputs, is_deterministic) = (self.inputs.clone(), self.parts.session_unix_ms.is_some());
        KeptSession::restored(session, inputs, self.seed(turn), is_deterministic, self.config).await
    }

    /// A session with the inputs and the user's Python tools in it, whose first cell is that of this turn.
    pub(super) async fn open_session(&self, turn: u32) -> Result<KeptSession> {
        let mut session = Session::new(self.config.factory.create().await?);
        session.start().await?;
        let mut kept = KeptSession { session, inputs: Inputs::new(), seed: None };
        self.put_in(&mut kept, self.seed(turn)).await?;
        Ok(kept)
    }

    /// Goes on in the session that the run is given: puts into it what an earlier run did not. Says whether
    /// it is still alive.
    pub(super) async fn go_on_in(&mut self, kept: &mut KeptSession) -> Result<bool> {
        // The turns of the record are behind it.
        let put = self.put_in(kept, self.seed(u32::MAX)).await;
        if let (Err(error), true, None) = (&put, self.is_resuming(), self.parts.earlier) {
            // The record has all that it takes to make another one, but for that of a conversation.
            tracing::warn!(%error, "the copy of a session cannot be used, and its cells run again");
            return Ok(false);
        }
        if let (Err(_), Some(reason)) = (&put, kept.session.ended()) {
            let reason = reason.to_owned();
            self.transcript.add(prompt::session_lost(&reason));
            self.recorder.record(Event::SessionLost { turn: self.turn, reason });
            return Ok(false);
        }
        put.map(|()| true)
    }

    /// Puts those inputs into a session that are not in it, and seeds its random numbers unless they have had
    /// this seed last.
    async fn put_in(&self, kept: &mut KeptSession, seed: Option<u64>) -> Result<()> {
        let config = self.config;
        let inputs: Inputs = self
            .inputs
            .iter()
            .filter(|(name, value)| !kept.inputs.get(name).is_some_and(|kept| kept.is_same(value)))
            .map(|(name, value)| (name, value.clone()))
            .collect();
        let earlier = self.parts.earlier.map_or(&[][..], |earlier| &earlier.fields);
        let fields = inputs.names().filter_map(|name| {
            let earlier = || earlier.iter().find(|(earlier, _)| earlier == name).map(|(_, field)| field);
            Some((name, config.signature.input(name).or_else(earlier)?))
        });
        let reseed = seed.filter(|_| kept.seed != seed);
        let mut setup = [reseed.map(objects::seeding).unwrap_or_default(), objects::setup(fields)].concat();
        let has_context = config.profile.conventions().is_some_and(|of| of.has_context);
        if has_context && config.tool_names().all(|name| name != prompt::CONTEXT) {
            let own = self.inputs.names().filter(|name| config.signature.input(name).is_some());
            setup.push_str(&objects::context(&own.collect::<Vec<_>>()));
        }
        let unix_ms = self.parts.session_unix_ms;
        let cell = Cell::new(setup)
            .determinism(reseed.zip(unix_ms).map(|(seed, unix_ms)| Determinism { seed, unix_ms }))
            .variables(inputs.iter().map(|(name, value)| (name.to_owned(), value.clone())))
            .scope(config.scope.clone())
            .timeout(self.recorder.terms().limits().cell_timeout)
            .total_timeout(self.budget.time_left());
        // It may come from a run with another policy.
        kept.session.set_policy(config.policy.clone());
        let observation = kept.session.execute_own(cell).await?;
        if observation.interruption.is_some() {
            let (kind, limit) = match self.budget.exhausted_now() {
                Some(limit) => (ErrorKind::LimitReached, self.budget.describe(limit)),
                None => (ErrorKind::Unavailable, "it took longer than a cell may".to_owned()),
            };
            let message = format!("the session could not be set up with its inputs and tools: {limit}");
            return Err(Error::new(kind, message).operation("Rlm::run"));
        }
        if let Some(error) = observation.error {
            let message = format!("the session could not be set up: {}", error.traceback.trim_end());
            return Err(Error::new(ErrorKind::Config, message).operation("Rlm::run"));
        }
        if let Some(reason) = observation.session_ended.or(observation.restored) {
            let message = format!("the session could not be set up: {reason}");
            return Err(Error::new(ErrorKind::Unavailable, message).operation("Rlm::run"));
        }
        (kept.inputs, kept.seed) = (self.inputs.clone(), seed);
        Ok(())
    }
}
