//! Power over a running container: interrupting it, killing it, and saying how it ended.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use abyme_driver::Control;
use async_trait::async_trait;
use bollard::query_parameters::KillContainerOptionsBuilder;

use crate::{
    DockerConfig,
    client::Client,
    container::{self, Ending, Endings},
    problem,
    streams::Link,
};

/// How long a container whose output ended may take to be gone. A busy engine takes seconds to say so, and only it knows
/// the reason.
const EXIT_PATIENCE: Duration = Duration::from_secs(10);
/// How long a session waits for its container to be gone. The removal goes on after that.
const KILL_PATIENCE: Duration = Duration::from_secs(5);
/// The same for a cell that ran over its time limit. With the grace of 1.2 s it stays within the 2 s of clause C10.
const OVERTIME_PATIENCE: Duration = Duration::from_millis(750);
/// How long an interrupt may take to arrive. After that the session goes on as if it had.
const INTERRUPT_PATIENCE: Duration = Duration::from_secs(5);

/// How long the container's first process may take to pass a signal on to Python. The engine's answer says only that this
/// process has it; on a machine with three times the work it can do, 1 of 700 came after the next message.
const FORWARDING: Duration = Duration::from_millis(50);

/// A container of ours. Removed when dropped.
#[derive(Debug)]
pub(crate) struct Container {
    client: Client,
    name: String,
    config: Arc<DockerConfig>,
    link: Arc<Link>,
    endings: Endings,
    /// Whether its removal has been asked for.
    removed: AtomicBool,
    /// Whether a cell was interrupted, and no other has begun since.
    interrupted: AtomicBool,
}

impl Container {
    pub(crate) fn new(
        client: Client,
        name: String,
        config: Arc<DockerConfig>,
        link: Arc<Link>,
        endings: Endings,
    ) -> Self {
        let (removed, interrupted) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { client, name, config, link, endings, removed, interrupted }
    }

    /// Kills and removes it, and waits until it is gone, but not for an engine that does not answer.
    pub(crate) async fn remove(&self) {
        self.remove_within(KILL_PATIENCE).await;
    }

    async fn remove_within(&self, patience: Duration) {
        if let Some(removal) = self.removal() {
            let _ = tokio::time::timeout(patience, self.client.keeper.see_through(removal)).await;
        }
    }

    /// What removes it, once.
    fn removal(&self) -> Option<impl Future<Output = ()> + Send + 'static> {
        if self.removed.swap(true, Ordering::AcqRel) {
            return None;
        }
        let (docker, name, endings) = (self.client.docker.clone(), self.name.clone(), self.endings.clone());
        let is_gone = matches!(*self.endings.borrow(), Some(Ending::Exited(_)));
        Some(async move {
            if !is_gone && !container::remove(&docker, &name, Some(endings)).await {
                tracing::warn!(
                    container = name,
                    "a container could not be removed; the next sweep tries again"
                );
            }
        })
    }

    /// How it ended, once it is gone; `None` if it is still there after a while.
    async fn ending(&self) -> Option<Ending> {
        let mut endings = self.endings.clone();
        let ended = tokio::time::timeout(EXIT_PATIENCE, endings.wait_for(Option::is_some)).await;
        ended.ok()?.ok()?.clone()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if let Some(removal) = self.removal() {
            self.client.keeper.owe(removal);
        }
    }
}

#[async_trait]
impl Control for Container {
    fn is_alive(&self) -> bool {
        !self.removed.load(Ordering::Acquire) && !self.link.has_ended() && self.endings.borrow().is_none()
    }

    /// Asks the engine, and does not wait for it.
    fn interrupt(&self) -> bool {
        if !self.is_alive() {
            return false;
        }
        self.interrupted.store(true, Ordering::Release);
        let (docker, name, on_its_way) =
            (self.client.docker.clone(), self.name.clone(), self.link.interrupt());
        self.client.keeper.spawn(async move {
            let options = KillContainerOptionsBuilder::default().signal("SIGINT").build();
            let sent = docker.kill_container(&name, Some(options));
            // A container that is gone by now needs no interrupt.
            let _ = tokio::time::timeout(INTERRUPT_PATIENCE, sent).await;
            tokio::time::sleep(FORWARDING).await;
            drop(on_its_way);
        });
        true
    }

    async fn settle(&self) {
        self.link.settled().await;
        self.interrupted.store(false, Ordering::Release);
    }

    async fn kill(&self) {
        let overtime = self.interrupted.load(Ordering::Acquire);
        self.remove_within(if overtime { OVERTIME_PATIENCE } else { KILL_PATIENCE }).await;
    }

    async fn how_it_ended(&self) -> String {
        let ending = self.ending().await;
        let words = self.link.last_words();
        self.remove().await;
        if let Some(reason) = problem::of_image(&words, &self.config.image, &self.config.python) {
            return format!("could not be run: {reason}");
        }
        let how = match ending {
            Some(Ending::Exited(code)) => problem::describe(code, self.config.memory_limit_bytes),
            Some(Ending::Unknown(reason)) => {
                format!("was lost with its Docker engine at {}: {reason}", self.client.address)
            }
            None => match self.link.broken() {
                Some(reason) => format!("was lost with its connection: {reason}"),
                None => "closed its connection and was killed".to_owned(),
            },
        };
        if words.is_empty() { how } else { format!("{how}; its last words: {words}") }
    }
}
