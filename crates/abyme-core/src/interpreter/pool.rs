//! Warm sessions, kept ready so that a run does not wait for one to start.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{Capabilities, CodeInterpreter, InterpreterFactory};
use crate::error::Result;

/// How many sessions a [`Pool`] keeps warm, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct PoolConfig {
    /// Sessions kept started and unused. Default 2.
    pub size: usize,
    /// How long a session waits to be used before it is shut down. Default 300 s.
    #[serde(with = "crate::seconds")]
    pub idle_timeout: Duration,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self { size: 2, idle_timeout: Duration::from_secs(300) }
    }
}

impl PoolConfig {
    /// Sets how many sessions are kept warm.
    pub fn size(mut self, size: usize) -> Self {
        self.size = size;
        self
    }

    /// Sets how long a session waits to be used.
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.idle_timeout = limit;
        self
    }
}

/// An [`InterpreterFactory`] that hands out started sessions of another one and starts new ones in the background.
///
/// A session is used once and never returned: two runs share nothing (C15). Sessions that died or waited too long are
/// dropped, and an empty pool starts a session on the spot. Needs a tokio runtime.
#[derive(Clone, Debug)]
pub struct Pool {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    factory: Arc<dyn InterpreterFactory>,
    config: PoolConfig,
    shelf: Mutex<Shelf>,
}

#[derive(Debug, Default)]
struct Shelf {
    warm: VecDeque<Warm>,
    starting: usize,
}

#[derive(Debug)]
struct Warm {
    since: Instant,
    session: Box<dyn CodeInterpreter>,
}

impl Pool {
    /// A pool over `factory`, empty until [`warm`](Self::warm) or the first [`create`](InterpreterFactory::create).
    pub fn new(factory: impl InterpreterFactory + 'static, config: PoolConfig) -> Self {
        let inner = Inner { factory: Arc::new(factory), config, shelf: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Fills the pool and waits until it is full.
    ///
    /// # Errors
    /// The first error of a session that does not start.
    pub async fn warm(&self) -> Result<()> {
        while let Some(place) = Place::claim(&self.inner) {
            place.fill().await?;
        }
        Ok(())
    }

    /// How many sessions are ready now.
    pub fn ready(&self) -> usize {
        self.inner.shelf().warm.len()
    }

    fn refill(&self) {
        while let Some(place) = Place::claim(&self.inner) {
            tokio::spawn(async move {
                if let Err(error) = place.fill().await {
                    tracing::warn!(%error, "a warm session could not be started");
                }
            });
        }
    }
}

impl Inner {
    /// A poisoned shelf is still a shelf: it holds no invariant that a panic could break.
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_expired(&self) -> Vec<Warm> {
        let limit = self.config.idle_timeout;
        let mut shelf = self.shelf();
        let (expired, warm) = shelf.warm.drain(..).partition(|warm| warm.since.elapsed() >= limit);
        shelf.warm = warm;
        Vec::from_iter::<VecDeque<_>>(expired)
    }
}

/// A place for a session that is being started: given back when the start is over, also when it failed or was
/// cancelled.
struct Place {
    pool: Arc<Inner>,
}

impl Place {
    /// A place that is neither filled nor being filled, if there is one.
    fn claim(pool: &Arc<Inner>) -> Option<Self> {
        let mut shelf = pool.shelf();
        if shelf.warm.len() + shelf.starting >= pool.config.size {
            return None;
        }
        shelf.starting += 1;
        Some(Self { pool: pool.clone() })
    }

    /// Starts a session into this place.
    async fn fill(self) -> Result<()> {
        let mut session = self.pool.factory.create().await?;
        session.start().await?;
        self.pool.shelf().warm.push_back(Warm { since: Instant::now(), session });
        tokio::spawn(expire_later(Arc::downgrade(&self.pool), self.pool.config.idle_timeout));
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pool.shelf().starting -= 1;
    }
}

async fn expire_later(pool: Weak<Inner>, limit: Duration) {
    tokio::time::sleep(limit).await;
    let Some(pool) = pool.upgrade() else { return };
    for mut expired in pool.take_expired() {
        if let Err(error) = expired.session.shutdown().await {
            tracing::warn!(%error, "an idle session did not shut down cleanly");
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl InterpreterFactory for Pool {
    fn name(&self) -> &str {
        self.inner.factory.name()
    }

    fn capabilities(&self) -> &Capabilities {
        self.inner.factory.capabilities()
    }

    async fn create(&self) -> Result<Box<dyn CodeInterpreter>> {
        loop {
            let warm = self.inner.shelf().warm.pop_front();
            let Some(mut warm) = warm else { break };
            // `start` on a started session says whether it is still alive (C1).
            if warm.since.elapsed() < self.inner.config.idle_timeout && warm.session.start().await.is_ok() {
                self.refill();
                return Ok(warm.session);
            }
        }
        self.refill();
        self.inner.factory.create().await
    }

    /// A restored session is never one of the warm ones.
    async fn restore(&self, snapshot: &[u8]) -> Result<Box<dyn CodeInterpreter>> {
        self.inner.factory.restore(snapshot).await
    }
}
