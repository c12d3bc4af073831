//! Sessions that are started ahead of their use, so that a run does not wait for one to start.

use std::{
    collections::VecDeque,
    io::Read,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::{task::JoinHandle, time::Instant};

use super::{Capabilities, CodeInterpreter, InterpreterFactory};
use crate::{error::Result, runtime::HomeRuntime};

/// How many sessions a [`Pool`] keeps started, and for how long.
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
    /// Sets how many sessions are kept started.
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

/// An [`InterpreterFactory`] that hands out started sessions of another one, and starts new ones in the
/// background.
///
/// A session is used once and never returned: two runs share nothing (C15). Sessions that died or waited too
/// long are dropped, and so are those of another tokio runtime that cannot be used on the caller's: a pool in
/// a static may be shared by tests, each of which has a runtime of its own. An empty pool starts a session on
/// the spot.
#[derive(Clone, Debug)]
pub struct Pool {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    factory: Arc<dyn InterpreterFactory>,
    config: PoolConfig,
    idle: Mutex<Idle>,
}

/// What waits to be used, and what is on its way there.
#[derive(Debug, Default)]
struct Idle {
    /// The oldest first.
    sessions: VecDeque<IdleSession>,
    starting: usize,
    /// Shuts down the sessions that waited too long, while there are any.
    sweeper: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct IdleSession {
    since: Instant,
    session: Box<dyn CodeInterpreter>,
}

impl Pool {
    /// A pool over `factory`, empty until [`fill`](Self::fill) or the first
    /// [`create`](InterpreterFactory::create).
    pub fn new(factory: impl InterpreterFactory + 'static, config: PoolConfig) -> Self {
        let inner = Inner { factory: Arc::new(factory), config, idle: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Fills the pool and waits until it is full.
    ///
    /// # Errors
    /// The first error of a session that does not start.
    pub async fn fill(&self) -> Result<()> {
        HomeRuntime::current()?;
        while let Some(permit) = StartPermit::acquire(&self.inner) {
            permit.start().await?;
        }
        Ok(())
    }

    /// How many sessions are ready now.
    pub fn ready(&self) -> usize {
        self.inner.idle().sessions.len()
    }

    fn refill(&self) {
        while let Some(permit) = StartPermit::acquire(&self.inner) {
            tokio::spawn(async move {
                if let Err(error) = permit.start().await {
                    tracing::warn!(%error, "a session of a pool could not be started");
                }
            });
        }
    }
}

impl Inner {
    /// A poisoned lock is used all the same: the data has no invariant that a panic could break.
    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_expired(&self, session: &IdleSession) -> bool {
        session.since.elapsed() >= self.config.idle_timeout
    }

    /// Adds a started session, and starts the sweeper if none runs. (The one before may have ended with its
    /// runtime.)
    fn add(self: &Arc<Self>, session: Box<dyn CodeInterpreter>) {
        let mut idle = self.idle();
        idle.sessions.push_back(IdleSession { since: Instant::now(), session });
        if idle.sweeper.as_ref().is_none_or(JoinHandle::is_finished) {
            idle.sweeper = Some(tokio::spawn(sweep(Arc::downgrade(self), self.config.idle_timeout)));
        }
    }

    fn take_expired(&self) -> Vec<IdleSession> {
        let mut idle = self.idle();
        let expired = idle.sessions.iter().take_while(|session| self.is_expired(session)).count();
        idle.sessions.drain(..expired).collect()
    }

    /// How long until the oldest session expires. Without one, the sweeper has to end.
    fn next_expiry(&self) -> Option<Duration> {
        let mut idle = self.idle();
        let oldest = idle.sessions.front().map(|session| session.since.elapsed());
        if oldest.is_none() {
            idle.sweeper = None;
        }
        oldest.map(|waited| self.config.idle_timeout.saturating_sub(waited))
    }
}

/// The permit to start one session. It is given back when the start is over, also when it failed or was
/// cancelled.
struct StartPermit {
    pool: Arc<Inner>,
}

impl StartPermit {
    /// A permit, unless enough sessions are idle or being started.
    fn acquire(pool: &Arc<Inner>) -> Option<Self> {
        let mut idle = pool.idle();
        if idle.sessions.len() + idle.starting >= pool.config.size {
            return None;
        }
        idle.starting += 1;
        Some(Self { pool: pool.clone() })
    }

    async fn start(self) -> Result<()> {
        let mut session = self.pool.factory.create().await?;
        session.start().await?;
        self.pool.add(session);
        Ok(())
    }
}

impl Drop for StartPermit {
    fn drop(&mut self) {
        self.pool.idle().starting -= 1;
    }
}

/// Shuts down the sessions of a pool that waited too long, until the pool is empty or dropped.
async fn sweep(pool: Weak<Inner>, idle_timeout: Duration) {
    let mut pause = Some(idle_timeout);
    while let Some(time) = pause {
        tokio::time::sleep(time).await;
        let Some(pool) = pool.upgrade() else { return };
        for mut expired in pool.take_expired() {
            if let Err(error) = expired.session.shutdown().await {
                tracing::warn!(%error, "an idle session did not shut down cleanly");
            }
        }
        pause = pool.next_expiry();
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
        HomeRuntime::current()?;
        loop {
            let idle = self.inner.idle().sessions.pop_front();
            let Some(mut idle) = idle else { break };
            // `start` on a started session says whether it is still alive (C1), here as well: one that was
            // started on another runtime may have died with it, and answers so.
            if !self.inner.is_expired(&idle) && idle.session.start().await.is_ok() {
                self.refill();
                return Ok(idle.session);
            }
        }
        self.refill();
        self.inner.factory.create().await
    }

    /// A restored session is never one of those that were started ahead.
    async fn restore(&self, snapshot: &[u8]) -> Result<Box<dyn CodeInterpreter>> {
        self.inner.factory.restore(snapshot).await
    }

    async fn restore_from(&self, snapshot: Box<dyn Read + Send>) -> Result<Box<dyn CodeInterpreter>> {
        self.inner.factory.restore_from(snapshot).await
    }
}
