//! The provider of a model under test: what it is to do, and what came of it.

use std::{fmt, sync::Arc};

use abyme_core::Request;
use tokio::sync::watch;

use super::scenario::Scenario;

/// The key that a client under test is given. No output of it may hold it.
pub const KEY: &str = "sk-canary-4f1d9c0e77aa83b2";

/// The provider of a model under test. Clones are the same provider.
#[derive(Clone)]
pub struct Provider(Arc<Inner>);

struct Inner {
    scenario: Scenario,
    record: watch::Sender<Record>,
}

/// What came to the provider.
#[derive(Debug, Default)]
struct Record {
    requests: Vec<Request>,
    keys: usize,
    abandoned: usize,
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("scenario", &self.0.scenario).finish_non_exhaustive()
    }
}

impl Provider {
    /// A provider that does this.
    pub fn new(scenario: Scenario) -> Self {
        Self(Arc::new(Inner { scenario, record: watch::Sender::default() }))
    }

    /// What it is to do.
    pub fn scenario(&self) -> &Scenario {
        &self.0.scenario
    }

    /// Notes a request, as the provider understands it. The answer counts as one that nobody waited for if
    /// what this returns is dropped before [`Answering::done`].
    #[must_use = "the answer counts as abandoned when this is dropped"]
    pub fn received(&self, request: Request) -> Answering {
        self.0.record.send_modify(|record| record.requests.push(request));
        Answering { provider: self.clone(), is_done: false }
    }

    /// Notes that a request came with [`KEY`].
    pub fn received_key(&self) {
        self.0.record.send_modify(|record| record.keys += 1);
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.0.record.borrow().requests.clone()
    }

    /// How many requests there were.
    pub fn count(&self) -> usize {
        self.0.record.borrow().requests.len()
    }

    /// How many requests came with [`KEY`].
    pub fn keys(&self) -> usize {
        self.0.record.borrow().keys
    }

    /// How many requests were given up by their sender before the provider was done.
    pub fn abandoned(&self) -> usize {
        self.0.record.borrow().abandoned
    }

    /// Waits until there were so many requests.
    pub async fn until_received(&self, count: usize) {
        self.until(|record| record.requests.len() >= count).await;
    }

    /// Waits until so many requests were given up.
    pub async fn until_abandoned(&self, count: usize) {
        self.until(|record| record.abandoned >= count).await;
    }

    async fn until(&self, is_so: impl FnMut(&Record) -> bool) {
        // It cannot fail: the sender is `self`'s.
        let _ = self.0.record.subscribe().wait_for(is_so).await;
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub struct Answering {
    provider: Provider,
    is_done: bool,
}

impl Answering {
    /// The provider did what it was to do.
    pub fn done(mut self) {
        self.is_done = true;
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        if !self.is_done {
            self.provider.0.record.send_modify(|record| record.abandoned += 1);
        }
    }
}
