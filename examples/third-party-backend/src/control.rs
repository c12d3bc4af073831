//! Control over the process on the agent's machine, through a connection of its own.

use std::{
    io::Write,
    net::{Shutdown, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use abyme_driver::Control;
use async_trait::async_trait;
use serde::Deserialize;
use tokio::sync::Notify;

use crate::lines::Lines;

/// How long a process that closed its stream may take to exit.
const EXIT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a kill may take to be confirmed. With the grace of 1.5 s it stays within the 2 s of clause C10.
/// The agent kills what has lost its connection, so what is not confirmed in time comes about all the same.
const KILL_TIMEOUT: Duration = Duration::from_millis(450);
/// How long an interrupt may take to be confirmed. After that the session is over: the interrupt could hit
/// any cell.
const INTERRUPT_TIMEOUT: Duration = Duration::from_secs(5);

/// Control over the process. Dropping it closes the connection, and with that the agent ends the session.
#[derive(Debug)]
pub(crate) struct RemoteControl {
    /// It never blocks: `interrupt` is called where nothing can be awaited, even without a runtime.
    line: TcpStream,
    reports: Arc<Reports>,
}

/// What the agent has reported of the session.
#[derive(Debug)]
struct Reports {
    address: String,
    status: Mutex<Status>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Status {
    /// Interrupts that are not confirmed yet.
    pending_interrupts: u32,
    ended: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Message {
    Done(#[expect(dead_code, reason = "there is only one thing that is confirmed")] String),
    Ended(String),
}

impl RemoteControl {
    /// Takes over a control connection and starts a task that listens to it.
    pub(crate) fn new(line: tokio::net::TcpStream, address: &str) -> std::io::Result<Self> {
        let line = line.into_std()?;
        let listening = tokio::net::TcpStream::from_std(line.try_clone()?)?;
        let reports = Arc::new(Reports {
            address: address.to_owned(),
            status: Mutex::default(),
            changed: Notify::new(),
        });
        tokio::spawn(Listener(reports.clone()).listen(listening));
        Ok(Self { line, reports })
    }

    /// Sends a line of a few bytes. A connection that does not take these at once is shut down.
    fn send(&self, what: &str) -> bool {
        let line = format!("{{\"do\": \"{what}\"}}\n");
        let sent = (&self.line).write(line.as_bytes()).is_ok_and(|written| written == line.len());
        if !sent {
            let _ = self.line.shutdown(Shutdown::Both);
        }
        sent
    }

    /// Waits for the end of the process; `None` if it does not come in time.
    async fn end_within(&self, limit: Duration) -> Option<String> {
        tokio::time::timeout(limit, self.reports.end()).await.ok()
    }
}

#[async_trait]
impl Control for RemoteControl {
    fn is_alive(&self) -> bool {
        self.reports.status().ended.is_none()
    }

    fn interrupt(&self) -> bool {
        let mut status = self.reports.status();
        if status.ended.is_some() || !self.send("interrupt") {
            return false;
        }
        status.pending_interrupts += 1;
        true
    }

    /// Interrupts and cells travel on two connections: a late interrupt would hit the next cell.
    async fn settle(&self) {
        let quiet = self.reports.until(|status| status.pending_interrupts == 0 || status.ended.is_some());
        if tokio::time::timeout(INTERRUPT_TIMEOUT, quiet).await.is_err() {
            let _ = self.line.shutdown(Shutdown::Both);
            self.reports.lost();
        }
    }

    async fn kill(&self) {
        if self.is_alive() && (!self.send("kill") || self.end_within(KILL_TIMEOUT).await.is_none()) {
            let _ = self.line.shutdown(Shutdown::Both);
            self.reports.lost();
        }
    }

    async fn how_it_ended(&self) -> String {
        if let Some(how) = self.end_within(EXIT_TIMEOUT).await {
            return how;
        }
        self.kill().await;
        "closed its connection and was killed".to_owned()
    }
}

impl Drop for RemoteControl {
    fn drop(&mut self) {
        // The listening task holds the connection too; this ends both.
        let _ = self.line.shutdown(Shutdown::Both);
    }
}

impl Reports {
    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something holds.
    async fn until(&self, holds: impl Fn(&Status) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if holds(&self.status()) {
                return;
            }
            changed.await;
        }
    }

    async fn end(&self) -> String {
        self.until(|status| status.ended.is_some()).await;
        self.status().ended.clone().unwrap_or_default()
    }

    fn take(&self, message: Message) {
        let mut status = self.status();
        match message {
            Message::Done(_) => status.pending_interrupts = status.pending_interrupts.saturating_sub(1),
            Message::Ended(how) => drop(status.ended.get_or_insert(how)),
        }
        drop(status);
        self.changed.notify_waiters();
    }

    fn lost(&self) {
        let address = &self.address;
        self.take(Message::Ended(format!(
            "lost its connection to the agent at {address}: the agent has ended, or the network in between \
             is down"
        )));
    }
}

/// Says that the connection is lost when it ends, also when its task is dropped with its runtime.
struct Listener(Arc<Reports>);

impl Listener {
    async fn listen(self, line: tokio::net::TcpStream) {
        let mut lines = Lines::new(line);
        while let Ok(line) = lines.next_line().await {
            match serde_json::from_str(&line) {
                Ok(message) => self.0.take(message),
                Err(_) => break,
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.lost();
    }
}
