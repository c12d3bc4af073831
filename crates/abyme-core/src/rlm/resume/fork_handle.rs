//! Forks a run: from its record, or while it is under way.

use std::{marker::PhantomData, sync::Arc};

use indexmap::IndexMap;
use tokio::sync::oneshot;

use super::{
    begin::{Begin, GivenRecord, How},
    forks::{ForkPoint, ForkRequests},
};
use crate::{
    error::{Error, ErrorKind, Result},
    rlm::{
        config::RlmConfig,
        kept_session::KeptSession,
        run::Run,
        start::{random_seed, run_id},
    },
    trajectory::Trajectory,
    value::Value,
};

/// A run that goes on from the end of a turn of a record, in this session if there is one, and with the
/// limits that the run of the record has.
pub(in crate::rlm) fn fork<O>(
    config: Arc<RlmConfig>,
    record: &Trajectory,
    turn: u32,
    session: Option<KeptSession>,
) -> Run<O> {
    let id = run_id();
    let how = How::Resume { file: None, session: session.map(Box::new) };
    let forked = record.forked(turn, &id, random_seed());
    let forked = forked.map(|trajectory| GivenRecord { trajectory, how });
    let run = Run::new(config, Begin::Recorded(forked), id);
    match record.limits() {
        Some(limits) => run.limits(|_| limits.clone()),
        None => run,
    }
}

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
    /// A run that goes on from the end of `turn` under an id of its own; 0 is before the first. The future
    /// waits until the run has come there. It is asked for at once, whether the future is polled or not.
    ///
    /// Where the backend can copy a session ([`Capabilities::fork`](crate::Capabilities::fork)) and the turn
    /// has not ended yet, the fork gets a copy, and the run goes on at once; the copy is kept until the fork
    /// is over or dropped. Otherwise the session of the fork is made by running the cells again, with the
    /// recorded answers of their calls.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] if the run was dropped before it came there. That there is no such turn shows
    /// when the fork is awaited, as that of [`Rlm::fork_from`](crate::Rlm::fork_from) does.
    pub fn fork_at(&self, turn: u32) -> impl Future<Output = Result<Run<O>>> + Send + use<O> {
        forked(self.config.clone(), self.requests.fork_at(turn), turn)
    }
}

async fn forked<O>(config: Arc<RlmConfig>, point: oneshot::Receiver<ForkPoint>, turn: u32) -> Result<Run<O>> {
    match point.await {
        Ok(ForkPoint { trajectory, session }) => Ok(fork(config, &trajectory, turn, session)),
        Err(_) => {
            let message =
                format!("the run was dropped before the end of its turn {turn}, and has no fork there");
            Err(Error::new(ErrorKind::Cancelled, message).operation("Run::fork_at"))
        }
    }
}

impl<O> Run<O> {
    /// A run that goes on from the end of `turn` of this one under an id of its own, as soon as this one has
    /// come there: for best-of-N, search and debugging. It can be asked for any number of times, and forks
    /// can be forked. [`ForkHandle::fork_at`] has the details, and asks while the run is under way.
    ///
    /// ```no_run
    /// # async fn example(rlm: abyme_core::Rlm) -> abyme_core::Result<()> {
    /// use abyme_core::inputs;
    ///
    /// // The first two turns are paid for once, and the rest is tried four times.
    /// let run = rlm.run(inputs! { docs: "a very long text" });
    /// let forks: Vec<_> = (0..3).map(|_| run.fork_at(2)).collect();
    /// let mut all = vec![run.await?];
    /// for fork in forks {
    ///     all.push(fork.await?.await?);
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of [`ForkHandle::fork_at`].
    pub fn fork_at(&self, turn: u32) -> impl Future<Output = Result<Run<O>>> + Send + use<O> {
        self.fork_handle().fork_at(turn)
    }

    /// A handle that forks this run while it is under way.
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
