//! Executes a run: its turns, between the records of its beginning and its end.

use std::{future::pending, pin::pin};

use async_trait::async_trait;

use super::{
    caller::ModelCaller,
    guard::{OnDrop, unless},
    resume::answers::unfinished_in,
    start::{Outputs, RunParts, StartRun, child_seed},
    turns::Turns,
};
use crate::{
    error::{ErrorKind, Result},
    trajectory::Event,
};

/// Executes a run until it ends or is `cancelled`.
pub(super) async fn execute(parts: RunParts<'_>, cancelled: impl Future<Output = ()>) -> Result<Outputs> {
    let RunParts { config, budget, recorder, .. } = parts;
    let seed = parts.forked_from.and_then(|origin| origin.seed).or(parts.seed);
    let start = Loop { seed, session_unix_ms: parts.session_unix_ms };
    let caller = ModelCaller::new(config, budget, recorder);
    let mut turns = Turns::new(parts, caller, &start);
    let (is_root, mut cancelled) = (budget.depth() == 0, pin!(cancelled));
    turns.open()?;
    let past = recorder.past().filter(|past| !past.is_replay());
    let is_resuming = past.is_some();
    if let Some(past) = past.filter(|_| is_root) {
        // Before anything is recorded: a run that does not go on leaves its record as it is.
        let unfinished = unfinished_in(past.tree(), past.run());
        unless(cancelled.as_mut(), parts.effects.check_unfinished(unfinished, &config.tools)).await?;
    }
    let failed = |kind, error: String| {
        if kind == ErrorKind::Cancelled && is_resuming && recorder.is_following() {
            // It has done nothing that its record does not have, which another resume goes on from.
            return;
        }
        let (usage, turns) = (budget.usage(), budget.iterations());
        recorder.record(Event::RunFailed { kind, error, usage, turns });
    };
    let dropped =
        OnDrop::new(|| failed(ErrorKind::Cancelled, "the run was dropped before its end".to_owned()));
    let begun = async {
        // What is paid for can be resumed: its beginning is there before it.
        if is_root {
            recorder.flush().await;
        }
        Ok(())
    };
    let ended = match unless(cancelled.as_mut(), begun).await {
        Ok(()) => turns.take(cancelled).await,
        Err(error) => Err(error),
    };
    // The root reports a refusal, also where a child ends at that moment.
    let refusal = if is_root { parts.effects.take_refusal() } else { None };
    let ended = refusal.map_or(ended, Err);
    dropped.disarm();
    match &ended {
        Ok((outputs, status)) => {
            let (status, outputs) = (*status, outputs.clone());
            let (usage, turns) = (budget.usage(), budget.iterations());
            recorder.record(Event::RunFinished { status, outputs, usage, turns });
        }
        Err(error) => failed(error.kind(), error.to_string()),
    }
    ended
}

/// Runs children in the loop that runs their parents.
struct Loop {
    seed: Option<u64>,
    session_unix_ms: Option<u64>,
}

#[async_trait]
impl StartRun for Loop {
    async fn start(&self, parts: RunParts<'_>) -> Result<Outputs> {
        // A child ends with the cell that waits for it.
        let call = parts.parent.map_or(0, |parent| parent.call);
        let seed = parts.seed.or_else(|| Some(child_seed(self.seed?, call)));
        let session_unix_ms = parts.session_unix_ms.or(self.session_unix_ms);
        execute(RunParts { seed, session_unix_ms, ..parts }, pending()).await
    }
}
