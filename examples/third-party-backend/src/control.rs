//! Power over the process on the agent's machine, through a connection of its own.

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

/// How long a process that closed its stream may take to be gone.
const EXIT_PATIENCE: Duration = Duration::from_secs(1);
/// How long a kill may take to be confirmed. With the grace of 1.5 s it stays within the 2 s of clause C10.
/// The agent kills what has lost its connection, so what is not confirmed in time comes about all the same.
const KILL_PATIENCE: Duration = Duration::from_millis(450);
/// How long an interrupt may take to be confirmed. After that the session is over: the interrupt could hit
/// any cell.
const INTERRUPT_PATIENCE: Duration = Duration::from_secs(5);

/// Power over the process. Dropping it closes the connection, and with that the agent ends the session.
#[derive(Debug)]
pub(crate) struct RemoteControl {
    /// Never blocks. `interrupt` is called where nothing can be awaited, even without a runtime.
    line: TcpStream,
    news: Arc<News>,
}

/// What the agent said.
#[derive(Debug)]
struct News {
    address: String,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Interrupts that were not confirmed yet.
    under_way: u32,
    ended: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Message {
    Done(#[expect(dead_code, reason = "there is only one thing that is confirmed")] String),
    Ended(String),
}

impl RemoteControl {
    /// Takes over a control connection. A task listens to it from now on.
    pub(crate) fn new(line: tokio::net::TcpStream, address: &str) -> std::io::Result<Self> {
        let line = line.into_std()?;
        let listening = tokio::net::TcpStream::from_std(line.try_clone()?)?;
        let news =
            Arc::new(News { address: address.to_owned(), state: Mutex::default(), changed: Notify::new() });
        tokio::spawn(Listener(news.clone()).listen(listening));
        Ok(Self { line, news })
    }

    /// Says a line of a few bytes. If the connection does not take these at once, it is of no use any more.
    fn say(&self, what: &str) -> bool {
        let line = format!("{{\"do\": \"{what}\"}}\n");
        let said = (&self.line).write(line.as_bytes()).is_ok_and(|written| written == line.len());
        if !said {
            let _ = self.line.shutdown(Shutdown::Both);
        }
        said
    }

    /// Waits for the end; `None` if it does not come in time.
    async fn end_within(&self, patience: Duration) -> Option<String> {
        tokio::time::timeout(patience, self.news.end()).await.ok()
    }
}

#[async_trait]
impl Control for RemoteControl {
    fn is_alive(&self) -> bool {
        self.news.state().ended.is_none()
    }

    fn interrupt(&self) -> bool {
        let mut state = self.news.state();
        if state.ended.is_some() || !self.say("interrupt") {
            return false;
        }
        state.under_way += 1;
        true
    }

    /// An interrupt and the cells travel on two connections: one that is late would hit the next cell.
    async fn settle(&self) {
        let quiet = self.news.until(|state| state.under_way == 0 || state.ended.is_some());
        if tokio::time::timeout(INTERRUPT_PATIENCE, quiet).await.is_err() {
            let _ = self.line.shutdown(Shutdown::Both);
            self.news.lost();
        }
    }

    async fn kill(&self) {
        if self.is_alive() && (!self.say("kill") || self.end_within(KILL_PATIENCE).await.is_none()) {
            let _ = self.line.shutdown(Shutdown::Both);
            self.news.lost();
        }
    }

    async fn how_it_ended(&self) -> String {
        if let Some(how) = self.end_within(EXIT_PATIENCE).await {
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

impl News {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something holds.
    async fn until(&self, holds: impl Fn(&State) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if holds(&self.state()) {
                return;
            }
            changed.await;
        }
    }

    async fn end(&self) -> String {
        self.until(|state| state.ended.is_some()).await;
        self.state().ended.clone().unwrap_or_default()
    }

    fn take(&self, message: Message) {
        let mut state = self.state();
        match message {
            Message::Done(_) => state.under_way = state.under_way.saturating_sub(1),
            Message::Ended(how) => drop(state.ended.get_or_insert(how)),
        }
        drop(state);
        self.changed.notify_waiters();
    }

    fn lost(&self) {
        let address = &self.address;
        self.take(Message::Ended(format!(
            "lost its connection to the agent at {address}: the agent has ended, or the network in between is down"
        )));
    }
}

/// Says that the connection is lost when it ends, also when its task is dropped with its runtime.
struct Listener(Arc<News>);

impl Listener {
    async fn listen(self, line: tokio::net::TcpStream) {
        let mut lines = Lines::new(line);
        while let Ok(line) = lines.next().await {
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
