//! The handle that forks a run while it is under way.

use std::{marker::PhantomData, sync::Arc};

use indexmap::IndexMap;

use super::{
    begin::{Begin, GivenRecord, How},
    config::RlmConfig,
    forks::ForkRequests,
    run::Run,
    start::{random_seed, run_id},
};
use crate::{
    error::{Error, ErrorKind, Result},
    value::Value,
};

/// Forks a run while it is under way. Made by [`Run::fork_handle`]; clones are handles to the same run.
#[derive(Debug)]
pub struct ForkHandle<O = IndexMap<String, Value>> {
    config: Arc<RlmConfig>,
    requests: Arc<ForkRequests>,
    output: PhantomData<fn() -> O>,
}

impl<O> Clone for ForkHandle<O> {
    fn clone(&self) -> Self {
        Self { config: self.config.clone(), requests: self.requests.clone(), output: PhantomData }
    }
}

impl<O> ForkHandle<O> {
    /// A run that goes on from the end of `turn` under an id of its own; 0 is before the first. Waits until
    /// the run has come there.
    ///
    /// Where the backend can copy a session ([`Capabilities::fork`](crate::Capabilities::fork)) and the turn
    /// is the one that just ended, the fork gets a copy, and the run goes on at once. Otherwise the session
    /// of the fork is made by running the cells again, with the recorded answers of their calls.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] if the run was dropped before it came there. That there is no such turn shows
    /// when the fork is awaited, as that of [`Rlm::fork_from`](crate::Rlm::fork_from) does.
    pub async fn fork_at(&self, turn: u32) -> Result<Run<O>> {
        let Some(point) = self.requests.fork_at(turn).await else {
            let message =
                format!("the run was dropped before the end of its turn {turn}, and has no fork there");
            return Err(Error::new(ErrorKind::Cancelled, message).operation("ForkHandle::fork_at"));
        };
        let id = run_id();
        let recorded = point.trajectory.forked(turn, &id, random_seed()).map(|trajectory| GivenRecord {
            trajectory,
            how: How::Resume { file: None, session: point.session.map(Box::new) },
        });
        Ok(Run::new(self.config.clone(), Begin::Recorded(recorded), id))
    }
}

impl<O> Run<O> {
    /// A handle that forks this run while it is under way: for best-of-N, search and debugging.
    ///
    /// ```no_run
    /// # async fn example(rlm: abyme_core::Rlm) -> abyme_core::Result<()> {
    /// use abyme_core::inputs;
    ///
    /// let run = rlm.run(inputs! { docs: "a very long text" });
    /// let handle = run.fork_handle();
    /// let first = tokio::spawn(run.into_future());
    /// let second = handle.fork_at(2).await?.await?; // while the first goes on
    /// # Ok(()) }
    /// ```
    pub fn fork_handle(&self) -> ForkHandle<O> {
        ForkHandle {
            config: self.config.clone(),
            requests: self.forks.requests().clone(),
            output: PhantomData,
        }
    }
}
