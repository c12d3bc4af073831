//! What all clients of a server have in common.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use abyme_core::{Result, Rlm};
use rmcp::{model::Tool, task_manager::TaskManager};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::{config::RlmServerConfig, files::Files, records::Records, sessions::Sessions, tools::tools};

/// How often it is looked for idle sessions, at least.
const MAX_SWEEP_INTERVAL: Duration = Duration::from_secs(30);

pub(crate) struct Shared {
    pub(crate) config: RlmServerConfig,
    pub(crate) rlm: Option<Rlm>,
    pub(crate) files: Option<Files>,
    pub(crate) sessions: Option<Sessions>,
    pub(crate) records: Records,
    pub(crate) tools: Vec<Tool>,
    pub(crate) runs: Runs,
    pub(crate) tasks: TaskManager,
    pub(crate) polls: Polls,
    /// Cancelled when the server closes.
    pub(crate) stop: CancellationToken,
    ids: AtomicU64,
}

impl Shared {
    pub(crate) fn new(
        config: RlmServerConfig,
        rlm: Option<Rlm>,
        files: Option<Files>,
        sessions: Option<Sessions>,
    ) -> Result<Self> {
        config.check()?;
        Ok(Self {
            tools: tools(rlm.is_some(), sessions.is_some()),
            records: Records::new(&config),
            runs: Runs::new(&config),
            rlm,
            files,
            sessions,
            config,
            tasks: TaskManager::new(),
            polls: Polls::default(),
            stop: CancellationToken::new(),
            ids: AtomicU64::new(1),
        })
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Closes the sessions that are idle, as long as it is polled. Never ends.
    pub(crate) async fn close_idle_sessions(&self) -> Infallible {
        let Some(sessions) = &self.sessions else { return std::future::pending().await };
        let interval = (sessions.idle_timeout / 4).min(MAX_SWEEP_INTERVAL);
        loop {
            tokio::time::sleep(interval).await;
            sessions.close_idle().await;
        }
    }
}

/// The questions at work, and those that wait.
pub(crate) struct Runs {
    slots: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    max_runs: usize,
    max_queued: usize,
}

/// The right of a question that was let in: to be at work, or to wait for that.
pub(crate) enum Admission {
    AtWork(OwnedSemaphorePermit),
    Waiting { place: OwnedSemaphorePermit, slots: Arc<Semaphore> },
}

impl Runs {
    fn new(config: &RlmServerConfig) -> Self {
        // What a semaphore can hold is more than any machine can.
        let max_runs = config.max_runs.min(Semaphore::MAX_PERMITS).min(u32::MAX as usize);
        Self {
            slots: Arc::new(Semaphore::new(max_runs)),
            waiting: Arc::new(Semaphore::new(config.max_queued.min(Semaphore::MAX_PERMITS))),
            max_runs,
            max_queued: config.max_queued,
        }
    }

    /// Lets one more question in, to be at work or to wait. Nothing is kept of one that is refused.
    ///
    /// # Errors
    /// Why it is refused, in words.
    pub(crate) fn admit(&self) -> Result<Admission, String> {
        if let Ok(slot) = self.slots.clone().try_acquire_owned() {
            return Ok(Admission::AtWork(slot));
        }
        match self.waiting.clone().try_acquire_owned() {
            Ok(place) => Ok(Admission::Waiting { place, slots: self.slots.clone() }),
            Err(_) => Err(format!(
                "{} questions are at work and {} wait, which is as many as this server takes: ask later",
                self.max_runs, self.max_queued
            )),
        }
    }

    /// Waits until none is at work.
    pub(crate) async fn ended(&self) {
        let all = u32::try_from(self.max_runs).unwrap_or(u32::MAX);
        let slots = self.slots.acquire_many(all).await;
        self.slots.close();
        drop(slots);
    }
}

impl Admission {
    /// Whether it has to wait.
    pub(crate) fn waits(&self) -> bool {
        matches!(self, Self::Waiting { .. })
    }

    /// The right to be at work, once it is free.
    ///
    /// # Errors
    /// That the server closes.
    pub(crate) async fn slot(self) -> Result<OwnedSemaphorePermit, String> {
        match self {
            Self::AtWork(slot) => Ok(slot),
            Self::Waiting { place, slots } => {
                let slot = slots.acquire_owned().await;
                drop(place);
                slot.map_err(|_| "the server closes".to_owned())
            }
        }
    }
}

/// When clients last asked about the tasks that are at work.
#[derive(Default)]
pub(crate) struct Polls {
    last: Mutex<HashMap<String, Instant>>,
}

impl Polls {
    /// Begins to watch a task.
    pub(crate) fn begin(&self, task: &str) {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).insert(task.to_owned(), Instant::now());
    }

    pub(crate) fn end(&self, task: &str) {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).remove(task);
    }

    /// A client asked about a task.
    pub(crate) fn note(&self, task: &str) {
        if let Some(last) = self.last.lock().unwrap_or_else(PoisonError::into_inner).get_mut(task) {
            *last = Instant::now();
        }
    }

    /// Waits until no client has asked about a task for so long.
    pub(crate) async fn abandoned(&self, task: &str, limit: Duration) {
        loop {
            let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).get(task).copied();
            let left = limit.saturating_sub(last.map_or(limit, |last| last.elapsed()));
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }
}
