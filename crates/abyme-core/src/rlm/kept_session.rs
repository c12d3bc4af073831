//! A session with what was put into it, and where it stays between the runs of a conversation.

use tokio::sync::Mutex;

use super::{config::RlmConfig, objects};
use crate::{
    error::Result,
    inputs::Inputs,
    interpreter::{Cell, CodeInterpreter, Session},
};

/// A session, and the inputs that are variables in it.
#[derive(Debug)]
pub(super) struct KeptSession {
    pub(super) session: Session,
    pub(super) inputs: Inputs,
    /// The seed that its random numbers had last.
    pub(super) seed: Option<u64>,
}

impl KeptSession {
    /// What [`snapshot`](Self::snapshot) gave, as a session.
    ///
    /// # Errors
    /// That the session does not start.
    pub(super) async fn restored(
        session: Box<dyn CodeInterpreter>,
        inputs: Inputs,
        seed: Option<u64>,
        is_deterministic: bool,
        config: &RlmConfig,
    ) -> Result<Self> {
        let session = Session::new(session).policy(config.policy.clone());
        let mut kept = Self { session, inputs, seed };
        kept.session.start().await?;
        if seed.is_some() && !is_deterministic {
            let cell = Cell::new(objects::RESTORE_RANDOM).scope(config.scope.clone());
            let observation = kept.session.execute_own(cell).await?;
            if observation.error.is_some() {
                // It is seeded anew then.
                kept.seed = None;
            }
        }
        Ok(kept)
    }

    /// The session as bytes. Its random numbers go on where they are, if they have a seed: backends begin
    /// others in a copy (C16), unless it is deterministic.
    ///
    /// # Errors
    /// Those of [`Session::snapshot`].
    pub(super) async fn snapshot(&mut self, is_deterministic: bool, config: &RlmConfig) -> Result<Vec<u8>> {
        if self.seed.is_some() && !is_deterministic {
            let cell = Cell::new(objects::KEEP_RANDOM).scope(config.scope.clone());
            // One that raises keeps nothing, and the copy is seeded anew.
            let _ = self.session.execute_own(cell).await?;
        }
        self.session.snapshot().await
    }
}

/// Where a run takes its session from and leaves it, for the next run of its conversation.
pub(super) type SessionHolder = Mutex<Option<KeptSession>>;
