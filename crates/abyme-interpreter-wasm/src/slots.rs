//! How many sessions may live at the same time.

use std::{sync::Arc, time::Duration};

use abyme_core::{Error, ErrorKind, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The right of a session to have an instance. Instances hold it too, so it becomes free when the last one is
/// dropped.
pub(crate) type Slot = Arc<OwnedSemaphorePermit>;

/// The slots of a factory.
#[derive(Debug)]
pub(crate) struct Slots {
    permits: Arc<Semaphore>,
    sessions: u32,
    timeout: Duration,
}

impl Slots {
    pub(crate) fn new(sessions: u32, timeout: Duration) -> Self {
        Self { permits: Arc::new(Semaphore::new(sessions as usize)), sessions, timeout }
    }

    /// Takes a slot, after waiting for one if all are taken.
    pub(crate) async fn acquire(&self) -> Result<Slot> {
        match tokio::time::timeout(self.timeout, self.permits.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Arc::new(permit)),
            _ => Err(Error::new(
                ErrorKind::Unavailable,
                format!(
                    "no session became free within {:.1} s: all {} are in use; shut sessions down, or raise \
                     `max_sessions` or `queue_timeout`",
                    self.timeout.as_secs_f64(),
                    self.sessions
                ),
            )),
        }
    }
}
