//! Control over a running container: interrupts it, kills it, and says how it ended.

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
use tokio::time::timeout;

use super::{
    exit,
    removal::{self, ContainerEnd, EndReceiver},
    streams::Link,
};
use crate::{config::Config, engine::Client};

/// How long a container whose output ended may take to be removed. A busy engine takes seconds to say so, and
/// only it knows the reason.
const EXIT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a session waits for the removal of its container. The removal goes on after that.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);
/// The same for a cell that ran over its time limit. With the grace of 1.2 s this is within the 2 s of clause
/// C10.
const OVERTIME_KILL_TIMEOUT: Duration = Duration::from_millis(750);
/// How long an interrupt may take to arrive. After that the session goes on as if it had.
const INTERRUPT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the container's first process may take to pass a signal on to Python. The engine's answer says
/// only that this process has the signal. On a machine with three times the work it can do, 1 of 700 signals
/// came after the next message.
const FORWARDING_DELAY: Duration = Duration::from_millis(50);

/// A running container. It is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Container {
    client: Client,
    name: String,
    config: Arc<Config>,
    link: Arc<Link>,
    end: EndReceiver,
    /// Whether its removal has begun.
    removed: AtomicBool,
    /// Whether a cell was interrupted and no other has begun since.
    interrupted: AtomicBool,
}

impl Container {
    pub(crate) fn new(
        client: Client,
        name: String,
        config: Arc<Config>,
        link: Arc<Link>,
        end: EndReceiver,
    ) -> Self {
        let (removed, interrupted) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { client, name, config, link, end, removed, interrupted }
    }

    /// Kills and removes it, and waits for that, but not for an engine that does not answer.
    pub(crate) async fn remove(&self) {
        self.remove_within(KILL_TIMEOUT).await;
    }

    async fn remove_within(&self, limit: Duration) {
        if let Some(removal) = self.removal() {
            let _ = timeout(limit, self.client.thread.run_to_end(removal)).await;
        }
    }

    /// The work that removes it; `None` if that has begun already.
    fn removal(&self) -> Option<impl Future<Output = ()> + Send + 'static> {
        if self.removed.swap(true, Ordering::AcqRel) {
            return None;
        }
        let (docker, name, end) = (self.client.docker.clone(), self.name.clone(), self.end.clone());
        let is_removed = matches!(*self.end.borrow(), Some(ContainerEnd::Exited(_)));
        Some(async move {
            if !is_removed && !removal::remove(&docker, &name, Some(end)).await {
                tracing::warn!(
                    container = name,
                    "a container could not be removed; the next sweep tries again"
                );
            }
        })
    }

    /// How it ended, once it is removed; `None` if it is not removed in time.
    async fn wait_for_end(&self) -> Option<ContainerEnd> {
        let mut end = self.end.clone();
        let ended = timeout(EXIT_TIMEOUT, end.wait_for(Option::is_some)).await;
        ended.ok()?.ok()?.clone()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if let Some(removal) = self.removal() {
            self.client.thread.spawn_tracked(removal);
        }
    }
}

#[async_trait]
impl Control for Container {
    fn is_alive(&self) -> bool {
        !self.removed.load(Ordering::Acquire) && !self.link.has_ended() && self.end.borrow().is_none()
    }

    /// Sends the request to the engine and does not wait for its answer.
    fn interrupt(&self) -> bool {
        if !self.is_alive() {
            return false;
        }
        self.interrupted.store(true, Ordering::Release);
        let (docker, name, pending) =
            (self.client.docker.clone(), self.name.clone(), self.link.interrupts.begin());
        self.client.thread.spawn(async move {
            let options = KillContainerOptionsBuilder::default().signal("SIGINT").build();
            let sent = docker.kill_container(&name, Some(options));
            // A container that has been removed by now needs no interrupt.
            let _ = timeout(INTERRUPT_TIMEOUT, sent).await;
            tokio::time::sleep(FORWARDING_DELAY).await;
            drop(pending);
        });
        true
    }

    async fn settle(&self) {
        self.link.interrupts.settled().await;
        self.interrupted.store(false, Ordering::Release);
    }

    async fn kill(&self) {
        let overtime = self.interrupted.load(Ordering::Acquire);
        self.remove_within(if overtime { OVERTIME_KILL_TIMEOUT } else { KILL_TIMEOUT }).await;
    }

    async fn how_it_ended(&self) -> String {
        let end = self.wait_for_end().await;
        let last_words = self.link.last_words();
        self.remove().await;
        if let Some(reason) = exit::explain_image(&last_words, &self.config.image, &self.config.python) {
            return format!("could not be run: {reason}");
        }
        let how = match end {
            Some(ContainerEnd::Exited(code)) => exit::describe(code, self.config.memory_limit_bytes),
            Some(ContainerEnd::Unknown(reason)) => {
                format!("was lost with its Docker engine at {}: {reason}", self.client.address)
            }
            None => match self.link.broken() {
                Some(reason) => format!("was lost with its connection: {reason}"),
                None => "closed its connection and was killed".to_owned(),
            },
        };
        if last_words.is_empty() { how } else { format!("{how}; its last words: {last_words}") }
    }
}
