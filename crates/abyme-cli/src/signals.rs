//! The signals that end the command, so that it can clean up first.

use std::{future::Future, io, time::Duration};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::{Exit, Failure};

/// How long dropped work may take to clean up: processes to end, directories to remove.
pub(crate) const CLEAN_UP_GRACE: Duration = Duration::from_millis(200);

/// How long dropped sessions of a backend may take to clean up. Those in this process are gone at once.
pub(crate) fn clean_up_grace(backend: &str) -> Duration {
    if matches!(backend, "wasm" | "pyo3") { Duration::ZERO } else { CLEAN_UP_GRACE }
}

/// How long the command may take to end in order.
pub(crate) const ORDERLY_TIMEOUT: Duration = Duration::from_millis(1500);
/// When the command ends after a signal, whatever it is doing: a writer that waits for the reader of stdout
/// looks at no signal.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// Every signal that people and supervisors end a program with, and how the command then exits.
const ENDING: [(SignalKind, Exit); 6] = [
    (SignalKind::hangup(), Exit::HungUp),
    (SignalKind::interrupt(), Exit::Interrupted),
    (SignalKind::quit(), Exit::Quit),
    (SignalKind::user_defined1(), Exit::User1),
    (SignalKind::user_defined2(), Exit::User2),
    (SignalKind::terminate(), Exit::Terminated),
];

/// Listens to the signals that end the command. One that the command was started to ignore, as `nohup` and
/// shells in the background do, stays ignored.
#[derive(Debug)]
pub(crate) struct Stop {
    signals: Vec<(Signal, Exit)>,
    /// Whether the next Ctrl-C only warns.
    warns: bool,
}

impl Stop {
    /// Begins to listen. From now on these signals end the process when the caller has cleaned up, or after
    /// [`END_TIMEOUT`].
    ///
    /// # Errors
    /// If a signal cannot be listened to.
    pub(crate) fn listen() -> Result<Self, Failure> {
        Self::listen_until(|_| true, END_TIMEOUT)
    }

    /// Begins to listen, for a command that does not end with each signal: once one `is_last`, the process
    /// ends after `timeout` at the latest.
    ///
    /// # Errors
    /// If a signal cannot be listened to.
    pub(crate) fn listen_until(
        mut is_last: impl FnMut(Exit) -> bool + Send + 'static,
        timeout: Duration,
    ) -> Result<Self, Failure> {
        let mut last = Self::new()?;
        tokio::spawn(async move {
            let mut exit = last.received().await;
            while !is_last(exit) {
                exit = last.received().await;
            }
            tokio::time::sleep(timeout).await;
            std::process::exit(exit as i32);
        });
        Self::new()
    }

    /// Begins to listen, for work that a person watches: the first Ctrl-C does not end it.
    ///
    /// # Errors
    /// If a signal cannot be listened to.
    pub(crate) fn listen_with_warning() -> Result<Self, Failure> {
        let mut warned = false;
        let is_last = move |exit| exit != Exit::Interrupted || std::mem::replace(&mut warned, true);
        Ok(Self { warns: true, ..Self::listen_until(is_last, END_TIMEOUT)? })
    }

    /// Whether the next Ctrl-C only warns.
    pub(crate) fn warns(&self) -> bool {
        self.warns
    }

    /// Whether this signal only warns. The next one does not.
    pub(crate) fn is_warning(&mut self, exit: Exit) -> bool {
        exit == Exit::Interrupted && std::mem::take(&mut self.warns)
    }

    fn new() -> Result<Self, Failure> {
        let ignored = ignored();
        let signals = ENDING.into_iter().filter(|(kind, _)| !is_in(ignored, *kind));
        let signals: io::Result<_> = signals.map(|(kind, exit)| Ok((signal(kind)?, exit))).collect();
        match signals {
            Ok(signals) => Ok(Self { signals, warns: false }),
            Err(error) => Err(Failure::new(Exit::Failed, format!("cannot listen for signals: {error}"))),
        }
    }

    /// Waits for the next signal; how the command exits because of it.
    pub(crate) async fn received(&mut self) -> Exit {
        std::future::poll_fn(|context| {
            for (signal, exit) in &mut self.signals {
                if signal.poll_recv(context).is_ready() {
                    return std::task::Poll::Ready(*exit);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}

/// Waits for `work`. A signal drops it, which ends what it runs within the `grace`.
///
/// # Errors
/// After a signal: quietly, with the exit code of that signal.
pub(crate) async fn unless_stopped<T>(work: impl Future<Output = T>, grace: Duration) -> Result<T, Failure> {
    let mut stop = Stop::listen()?;
    let exit = {
        let work = Box::pin(work);
        tokio::select! {
            done = work => return Ok(done),
            exit = stop.received() => exit,
        }
    };
    tokio::time::sleep(grace).await;
    Err(Failure::quiet(exit))
}

/// The signals that this process ignores, as a mask; none where the system does not tell.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}

fn is_in(mask: u64, kind: SignalKind) -> bool {
    let number = u32::try_from(kind.as_raw_value()).unwrap_or_default();
    number > 0 && mask >> (number - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_read_from_its_lowest_bit() {
        assert!(is_in(0b1, SignalKind::hangup()) && is_in(0b10, SignalKind::interrupt()));
        assert!(!is_in(0b10, SignalKind::hangup()) && !is_in(0, SignalKind::terminate()));
    }
}
