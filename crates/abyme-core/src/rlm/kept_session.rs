//! A session with what was put into it, and where it stays between the runs of a conversation.

use tokio::sync::Mutex;

use crate::{inputs::Inputs, interpreter::Session};

/// A session, and the inputs that are variables in it.
#[derive(Debug)]
pub(super) struct KeptSession {
    pub(super) session: Session,
    pub(super) inputs: Inputs,
    /// The seed that its random numbers had last.
    pub(super) seed: Option<u64>,
}

/// Where a run takes its session from and leaves it, for the next run of its conversation.
pub(super) type SessionHolder = Mutex<Option<KeptSession>>;
