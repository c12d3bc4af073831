//! Executes a run: its turns, between the records of its beginning and its end.

use std::future::pending;

use async_trait::async_trait;

use super::{
    caller::ModelCaller,
    effects::EffectDecider,
    guard::OnDrop,
    start::{Outputs, RunParts, StartRun, child_seed},
    turns::Turns,
};
use crate::{
    error::{ErrorKind, Result},
    trajectory::Event,
};

/// Executes a run until it ends or is `cancelled`.
pub(super) async fn execute(parts: RunParts<'_>, cancelled: impl Future<Output = ()>) -> Result<Outputs> {
    let RunParts { config, limits, budget, recorder, .. } = parts;
    let seed = parts.forked_from.and_then(|origin| origin.seed).or(parts.seed);
    let start = Loop { decide_effect: parts.decide_effect, seed, session_unix_ms: parts.session_unix_ms };
    let caller = ModelCaller::new(config, limits, budget, recorder);
    let mut turns = Turns::new(parts, caller, &start);
    turns.open()?;
    let failed = |kind, error: String| {
        let (usage, turns) = (budget.usage(), budget.iterations());
        recorder.record(Event::RunFailed { kind, error, usage, turns });
    };
    let dropped =
        OnDrop::new(|| failed(ErrorKind::Cancelled, "the run was dropped before its end".to_owned()));
    let ended = turns.take(cancelled).await;
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
struct Loop<'a> {
    decide_effect: Option<&'a EffectDecider>,
    seed: Option<u64>,
    session_unix_ms: Option<u64>,
}

#[async_trait]
impl StartRun for Loop<'_> {
    async fn start(&self, parts: RunParts<'_>) -> Result<Outputs> {
        // A child ends with the cell that waits for it.
        let call = parts.parent.map_or(0, |parent| parent.call);
        let seed = parts.seed.or_else(|| Some(child_seed(self.seed?, call)));
        let session_unix_ms = parts.session_unix_ms.or(self.session_unix_ms);
        let parts = RunParts { decide_effect: self.decide_effect, seed, session_unix_ms, ..parts };
        execute(parts, pending()).await
    }
}
