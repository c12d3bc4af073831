//! Ends a run from elsewhere: at once, or with the outputs that come of what it knows.

use tokio::sync::watch;

/// What is asked of a run from elsewhere. What comes later is more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Demand {
    Nothing,
    Finish,
    Cancel,
}

/// Ends a run from elsewhere. Made by [`Run::cancel_handle`](crate::Run::cancel_handle); clones are handles
/// to the same run.
#[derive(Clone, Debug)]
pub struct CancelHandle {
    state: watch::Sender<Demand>,
}

impl CancelHandle {
    pub(super) fn new() -> Self {
        Self { state: watch::Sender::new(Demand::Nothing) }
    }

    /// Ends the run: its model call and its cell are dropped, its session is shut down, and its future gives
    /// an error of kind [`Cancelled`](crate::ErrorKind::Cancelled) that carries the trajectory. A run that
    /// has not started ends as soon as it is awaited; one that is over stays as it is.
    pub fn cancel(&self) {
        self.ask(Demand::Cancel);
    }

    /// Has the run end with what it knows: the model call and the cell in progress are dropped, children
    /// too, and the model is asked for the outputs, as if a limit had been reached. The status is then
    /// [`EndedEarly`](crate::Status::EndedEarly). A run that has not started asks so in its first call; one
    /// that is over, or is asked for its outputs already, stays as it is.
    ///
    /// ```no_run
    /// # async fn example(rlm: abyme_core::Rlm) -> abyme_core::Result<()> {
    /// use std::time::Duration;
    ///
    /// use abyme_core::{Status, inputs};
    ///
    /// let run = rlm.run(inputs! { docs: "a very long text" });
    /// let handle = run.cancel_handle();
    /// let run = tokio::spawn(run.into_future());
    /// tokio::time::sleep(Duration::from_secs(30)).await;
    /// handle.finish_now();
    /// let answer = run.await.expect("the run does not panic")?;
    /// if answer.status() == Status::EndedEarly {
    ///     println!("this is what it knew after 30 s: {:?}", answer.outputs());
    /// }
    /// # Ok(()) }
    /// ```
    pub fn finish_now(&self) {
        self.ask(Demand::Finish);
    }

    /// Whether the run was cancelled.
    pub fn is_cancelled(&self) -> bool {
        *self.state.borrow() == Demand::Cancel
    }

    /// Waits until the run is cancelled.
    pub(super) async fn cancelled(&self) {
        self.asked(Demand::Cancel).await;
    }

    /// Waits until the run has to end with what it knows, or is cancelled.
    pub(super) async fn finish_asked(&self) {
        self.asked(Demand::Finish).await;
    }

    fn ask(&self, more: Demand) {
        self.state.send_if_modified(|asked| {
            let is_more = more > *asked;
            *asked = more.max(*asked);
            is_more
        });
    }

    async fn asked(&self, least: Demand) {
        // The channel does not close while this handle holds its sender.
        self.state.subscribe().wait_for(|asked| *asked >= least).await.ok();
    }
}
