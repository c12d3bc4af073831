//! Ctrl-C and SIGTERM: what runs is dropped, which ends it, and the exit code says so.

use std::{future::Future, time::Duration};

use tokio::signal::unix::{SignalKind, signal};

use crate::exit::{Exit, Failure};

/// How long what was dropped may take to clean up behind itself: killed processes, their directories.
const CLEAN_UP: Duration = Duration::from_millis(200);

/// Waits for `work`, unless the user or the system stops the command.
///
/// # Errors
/// Without words, and with the exit code of the signal.
pub(crate) async fn unless_stopped<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let failed = |error| Failure::new(Exit::Failed, format!("cannot listen for signals: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let exit = {
        let work = Box::pin(work);
        tokio::select! {
            done = work => return Ok(done),
            _ = interrupt.recv() => Exit::Interrupted,
            _ = terminate.recv() => Exit::Terminated,
        }
    };
    tokio::time::sleep(CLEAN_UP).await;
    Err(Failure::quiet(exit))
}
