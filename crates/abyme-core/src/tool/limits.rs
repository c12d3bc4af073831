//! The limits of single tools, and how much of them a run has used.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::interpreter::HostError;

/// What one tool may take.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ToolLimits {
    /// How long one call may take.
    pub(super) timeout: Option<Duration>,
    /// How many calls a run may make.
    pub(super) max_calls: Option<u32>,
    /// How many calls may be at work at once.
    pub(super) max_concurrent_calls: Option<usize>,
}

impl ToolLimits {
    /// What the model reads of them.
    pub(super) fn note(&self) -> Option<String> {
        let calls = self.max_calls.map(|most| match most {
            1 => "May be called once.".to_owned(),
            most => format!("May be called {most} times."),
        });
        let at_once = self.max_concurrent_calls.map(|most| match most {
            1 => "Calls run one after the other.".to_owned(),
            most => format!("At most {most} calls run at the same time; others wait."),
        });
        let timeout = self.timeout.map(|limit| {
            format!("Raises TimeoutError when a call takes more than {} s.", limit.as_secs_f64())
        });
        let notes: Vec<_> = [calls, at_once, timeout].into_iter().flatten().collect();
        (!notes.is_empty()).then(|| notes.join(" "))
    }

    /// Why no call could ever succeed under them.
    pub(super) fn problem(&self) -> Option<&'static str> {
        match self {
            Self { timeout: Some(limit), .. } if limit.is_zero() => {
                Some("its time-out is 0: no call could end in time")
            }
            Self { max_calls: Some(0), .. } => Some("`max_calls` is 0: leave the tool out, or raise it"),
            Self { max_concurrent_calls: Some(0), .. } => {
                Some("`max_concurrent_calls` is 0: no call could ever start")
            }
            _ => None,
        }
    }
}

/// How much of the limits of its tools a run, or a session that is used by itself, has used.
#[derive(Debug, Default)]
pub(crate) struct ToolUses {
    /// By name; only tools that have a limit of this kind.
    counted: HashMap<String, ToolQuota>,
}

#[derive(Debug)]
struct ToolQuota {
    max_calls: Option<u32>,
    calls: AtomicU32,
    at_work: Option<Semaphore>,
}

/// Leave to work. Others that wait for it go on when it is dropped.
#[derive(Debug)]
pub(crate) struct WorkPermit<'a> {
    _permit: Option<SemaphorePermit<'a>>,
}

impl ToolUses {
    pub(super) fn new<'a>(tools: impl Iterator<Item = (&'a str, &'a ToolLimits)>) -> Self {
        let counted =
            tools.filter(|(_, limits)| limits.max_calls.is_some() || limits.max_concurrent_calls.is_some());
        let counted = counted.map(|(name, limits)| {
            let at_work =
                limits.max_concurrent_calls.map(|most| Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
            (name.to_owned(), ToolQuota { max_calls: limits.max_calls, calls: AtomicU32::new(0), at_work })
        });
        Self { counted: counted.collect() }
    }

    /// Counts a call that was made before.
    pub(crate) fn recall(&self, tool: &str) {
        if let Some(counted) = self.counted.get(tool) {
            let most = counted.max_calls.unwrap_or(u32::MAX);
            let one_more = |calls: u32| (calls < most).then(|| calls + 1);
            // More calls than may be made were refused, and count nothing.
            counted.calls.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok();
        }
    }

    /// Counts a call of the tool and waits until it may work. A call that is given up while it waits does not
    /// count.
    pub(crate) async fn admit(&self, tool: &str) -> Result<WorkPermit<'_>, HostError> {
        let Some(counted) = self.counted.get(tool) else { return Ok(WorkPermit { _permit: None }) };
        let waiting = counted.reserve(tool)?;
        let permit = match &counted.at_work {
            // It is never closed; a closed one would only mean that nothing is limited.
            Some(at_work) => at_work.acquire().await.ok(),
            None => None,
        };
        std::mem::forget(waiting);
        Ok(WorkPermit { _permit: permit })
    }
}

impl ToolQuota {
    fn reserve(&self, tool: &str) -> Result<CallReservation<'_>, HostError> {
        let most = self.max_calls.unwrap_or(u32::MAX);
        let one_more = |calls: u32| (calls < most).then(|| calls.saturating_add(1));
        match self.calls.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more) {
            Ok(_) => Ok(CallReservation { calls: &self.calls }),
            Err(_) => Err(HostError::runtime_error(format!(
                "call limit of `{tool}`: 0 of {most} calls left. Go on with what it returned before."
            ))),
        }
    }
}

/// Gives the call back when it is dropped before it works.
struct CallReservation<'a> {
    calls: &'a AtomicU32,
}

impl Drop for CallReservation<'_> {
    fn drop(&mut self) {
        self.calls.fetch_sub(1, Ordering::Relaxed);
    }
}
