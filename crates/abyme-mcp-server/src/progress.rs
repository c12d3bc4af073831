//! What a run is doing, told to the client that waits for it.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use abyme_core::{Event, EventSink, Record};
use rmcp::{
    Peer, RoleServer,
    model::{ProgressNotificationParam, ProgressToken},
    task_manager::TaskContext,
};
use tokio::sync::watch;

/// No client is told more often.
const TELL_INTERVAL: Duration = Duration::from_millis(250);

/// What a run is doing, as of now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Step {
    /// Grows with each event.
    number: u64,
    text: String,
}

/// Where a run says what it is doing.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    now: watch::Sender<Step>,
}

impl Steps {
    pub(crate) fn say(&self, text: impl Into<String>) {
        self.now.send_modify(|step| {
            step.number += 1;
            step.text = text.into();
        });
    }

    /// What follows the events of the run with this id.
    pub(crate) fn follow(self: &Arc<Self>, run: &str) -> impl EventSink + 'static {
        RunFollower { steps: self.clone(), run: run.to_owned(), sub_calls: AtomicU64::new(0) }
    }
}

struct RunFollower {
    steps: Arc<Steps>,
    run: String,
    sub_calls: AtomicU64,
}

impl EventSink for RunFollower {
    fn record(&self, record: &Arc<Record>) {
        let is_root = record.run == self.run;
        match &record.event {
            Event::RunStarted { model, .. } if is_root => self.steps.say(format!("{model} begins")),
            Event::CellStarted { turn, .. } if is_root => {
                self.steps.say(format!("turn {turn}: Python runs"));
            }
            Event::CellFinished { turn, .. } if is_root => {
                self.steps.say(format!("turn {turn}: Python has run"));
            }
            Event::SubCallFinished { .. } => {
                let calls = self.sub_calls.fetch_add(1, Ordering::Relaxed) + 1;
                self.steps.say(format!("{calls} {} done", if calls == 1 { "sub-call" } else { "sub-calls" }));
            }
            Event::ChildStarted { .. } => self.steps.say("a child run begins"),
            Event::ChildFinished { .. } => self.steps.say("a child run has ended"),
            Event::ModelCallFailed { turn, retry_seconds: Some(seconds), .. } => {
                self.steps.say(format!("turn {turn}: a model call failed; it is tried again in {seconds} s"));
            }
            _ => {}
        }
    }
}

/// Tells a client what a run is doing.
pub(crate) struct Reporter {
    /// The client, if it asked for progress and is there to hear it.
    pub(crate) client: Option<(Peer<RoleServer>, ProgressToken)>,
    /// The task that the run is, if it is one.
    pub(crate) task: Option<TaskContext>,
}

impl Reporter {
    /// Tells each step, or the last of those that come together. Never ends.
    pub(crate) async fn report(mut self, steps: &Steps) -> Infallible {
        let mut now = steps.now.subscribe();
        now.mark_changed();
        loop {
            if now.changed().await.is_err() {
                return std::future::pending().await;
            }
            let Step { number, text } = now.borrow_and_update().clone();
            if number == 0 {
                continue;
            }
            if let Some(task) = &self.task {
                task.set_status_message(text.clone());
            }
            if let Some((client, token)) = &self.client {
                #[allow(clippy::cast_precision_loss, reason = "no run has 2^52 events")]
                let progress = ProgressNotificationParam::new(token.clone(), number as f64);
                if client.notify_progress(progress.with_message(text)).await.is_err() {
                    self.client = None;
                }
            }
            tokio::time::sleep(TELL_INTERVAL).await;
        }
    }
}
