//! What all requests of a server share.

use std::sync::Arc;

use abyme_core::Rlm;
use indexmap::IndexMap;
use tokio::sync::watch;

use crate::{
    body::BodyMemory, config::ServeConfig, keyring::Keyring, metrics::Metrics, queue::RequestQueue,
    spending::unix_seconds,
};

/// What all requests of a server share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: ServeConfig,
    /// By the names that clients ask for.
    pub(crate) models: IndexMap<String, Rlm>,
    pub(crate) keys: Keyring,
    pub(crate) queue: RequestQueue,
    pub(crate) bodies: Arc<BodyMemory>,
    pub(crate) metrics: Metrics,
    /// Seconds since 1970.
    pub(crate) created: u64,
    phase: watch::Sender<Phase>,
}

/// How far the server is on the way to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    /// Runs at work go on to their end, and nothing begins.
    Closing,
    /// Runs are cancelled.
    Ending,
}

impl Shared {
    pub(crate) fn new(config: ServeConfig, models: IndexMap<String, Rlm>, keys: Keyring) -> Arc<Self> {
        Arc::new(Self {
            queue: RequestQueue::new(config.max_runs, config.max_queued),
            bodies: BodyMemory::new(config.max_total_body_bytes),
            metrics: Metrics::new(),
            created: unix_seconds(),
            phase: watch::Sender::new(Phase::Serving),
            config,
            models,
            keys,
        })
    }

    /// Lets nothing begin any more.
    pub(crate) fn close(&self) {
        self.phase.send_replace(Phase::Closing);
    }

    /// Cancels the runs at work.
    pub(crate) fn end(&self) {
        self.phase.send_replace(Phase::Ending);
    }

    pub(crate) fn is_closing(&self) -> bool {
        *self.phase.borrow() >= Phase::Closing
    }

    /// Waits until nothing begins any more.
    pub(crate) async fn closing(&self) {
        self.reached(Phase::Closing).await;
    }

    /// Waits until runs are cancelled.
    pub(crate) async fn ending(&self) {
        self.reached(Phase::Ending).await;
    }

    async fn reached(&self, phase: Phase) {
        // The channel does not close while this holds its sender.
        self.phase.subscribe().wait_for(|now| *now >= phase).await.ok();
    }
}
