//! Models that cost nothing: they answer from a list, at once or after a time.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use abyme::{Error, ErrorKind, LanguageModel, Request, Response, Role};
use async_trait::async_trait;

/// A model that answers the first, second, third ... request of a run with the first, second, third ...
/// reply, any number of runs at a time. Unlike the scripted model of the tests it keeps no requests, which
/// would be timed too.
#[derive(Clone, Debug)]
pub(crate) struct Planner {
    replies: Arc<Vec<String>>,
    /// Replies to runs whose task holds this.
    tasks: Arc<Vec<(&'static str, Vec<String>)>>,
    delay: Duration,
    stamps: Option<Arc<Mutex<Vec<Stamp>>>>,
}

/// When a request came, and when its reply went back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    pub(crate) asked: Instant,
    pub(crate) answered: Instant,
}

impl Planner {
    /// Each cell is a reply, with a thought before it.
    pub(crate) fn new<C: AsRef<str>>(cells: impl IntoIterator<Item = C>) -> Self {
        Self { replies: Arc::new(replies(cells)), tasks: Arc::default(), delay: Duration::ZERO, stamps: None }
    }

    /// Answers runs whose task holds `task` with these cells.
    pub(crate) fn task<C: AsRef<str>>(
        mut self,
        task: &'static str,
        cells: impl IntoIterator<Item = C>,
    ) -> Self {
        Arc::make_mut(&mut self.tasks).push((task, replies(cells)));
        self
    }

    /// Takes so long for each reply.
    pub(crate) fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Notes the time of each request and reply. For one run at a time.
    pub(crate) fn stamped(mut self) -> Self {
        self.stamps = Some(Arc::default());
        self
    }

    /// The times noted since this was last asked.
    pub(crate) fn take_stamps(&self) -> Vec<Stamp> {
        let stamps = self.stamps.as_ref().map(|stamps| stamps.lock().unwrap_or_else(PoisonError::into_inner));
        stamps.map(|mut stamps| std::mem::take(&mut *stamps)).unwrap_or_default()
    }
}

fn replies<C: AsRef<str>>(cells: impl IntoIterator<Item = C>) -> Vec<String> {
    let reply = |cell: C| {
        format!("I look at what I have, and go on from there.\n\n```python\n{}\n```", cell.as_ref())
    };
    cells.into_iter().map(reply).collect()
}

#[async_trait]
impl LanguageModel for Planner {
    fn name(&self) -> &str {
        "planner"
    }

    async fn complete(&self, request: &Request) -> Result<Response, Error> {
        let asked = Instant::now();
        let turn = request.messages.iter().filter(|message| message.role == Role::Assistant).count();
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        let task = request.messages.get(1).map_or("", |task| task.content.as_str());
        let of_task = self.tasks.iter().find(|(part, _)| task.contains(part));
        let replies = of_task.map_or(&*self.replies, |(_, replies)| replies);
        let Some(reply) = replies.get(turn) else {
            let last = request.messages.last().map(|message| message.content.as_str()).unwrap_or_default();
            let what = format!("the script has no reply to {last:?}");
            return Err(Error::new(ErrorKind::BadRequest, what));
        };
        let response = Response::new(reply.as_str());
        if let Some(stamps) = &self.stamps {
            let stamp = Stamp { asked, answered: Instant::now() };
            stamps.lock().unwrap_or_else(PoisonError::into_inner).push(stamp);
        }
        Ok(response)
    }
}

/// Answers a prompt with itself after a time, any number of them at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SlowEcho(pub(crate) Duration);

#[async_trait]
impl LanguageModel for SlowEcho {
    fn name(&self) -> &str {
        "slow echo"
    }

    async fn complete(&self, request: &Request) -> Result<Response, Error> {
        tokio::time::sleep(self.0).await;
        Ok(Response::new(request.messages.last().map(|last| last.content.as_str()).unwrap_or_default()))
    }
}
