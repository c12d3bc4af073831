//! A request on its way through the queue and its run. It has a task of its own, so that a client that reads
//! slowly holds up nothing, and it is cancelled when its client goes away.

use std::sync::Arc;

use abyme_core::{ErrorKind, Prediction, Result as RunResult, Rlm, Run, Usage};
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::Instant,
};

use crate::{
    body::HeldBytes,
    keyring::KeyState,
    refusal::Refusal,
    reply::{Answer, ReplyHead},
    request::ChatRequest,
    shared::Shared,
    spending::{today, unix_seconds},
    thoughts::Thoughts,
};

/// What a request holds while it is in the server.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) key: Arc<KeyState>,
    /// Of the requests of the key, where these are limited.
    pub(crate) of_key: Option<OwnedSemaphorePermit>,
    /// Of the requests of the server.
    pub(crate) of_server: OwnedSemaphorePermit,
    pub(crate) bytes: HeldBytes,
}

/// A request whose run waits or is at work. Dropping it cancels the run.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) head: ReplyHead,
    pub(crate) thoughts: Arc<Thoughts>,
    ended: oneshot::Receiver<Result<Answer, Refusal>>,
}

impl Job {
    /// Begins.
    pub(crate) fn start(shared: &Arc<Shared>, admission: Admission, rlm: &Rlm, request: ChatRequest) -> Self {
        let ChatRequest { model, inputs, stream, include_usage: _, stop } = request;
        let mut run = rlm.run(inputs).label(admission.key.name());
        let head = ReplyHead { run: run.id().to_owned(), model, created: unix_seconds() };
        let thoughts = Arc::new(Thoughts::of(&head.run));
        if stream && shared.config.reasoning {
            run = run.on_event(thoughts.clone());
        }
        if let Some(directory) = &shared.config.trace_dir {
            // A client that leaves ends its run, and nobody resumes it.
            run = run.trace(directory.join(format!("{}.jsonl", head.run))).snapshots(None);
        }
        let (mut sender, ended) = oneshot::channel();
        let (shared, id) = (shared.clone(), head.run.clone());
        tokio::spawn(async move {
            // What it holds is given back before the client hears of the end, and may ask again.
            let answer = perform(&shared, admission, run, &stop, &mut sender).await;
            match &answer {
                Ok(_) => tracing::debug!(run = id, "answered"),
                Err(refusal) if refusal.status.is_server_error() => tracing::warn!(run = id, "{refusal}"),
                // The client is told, or is gone.
                Err(refusal) => tracing::debug!(run = id, "{refusal}"),
            }
            // Nobody may be there any more.
            sender.send(answer).ok();
        });
        Self { head, thoughts, ended }
    }

    /// Waits for the end.
    pub(crate) async fn ended(&mut self) -> Result<Answer, Refusal> {
        let ended = (&mut self.ended).await;
        // The task panicked.
        ended.unwrap_or_else(|_| Err(Refusal::internal("the run broke off; this is a bug in abyme")))
    }
}

async fn perform(
    shared: &Arc<Shared>,
    admission: Admission,
    run: Run,
    stop: &[String],
    client: &mut oneshot::Sender<Result<Answer, Refusal>>,
) -> Result<Answer, Refusal> {
    // All of it is held to the end.
    let Admission { key, of_key: _of_key, of_server: _of_server, bytes: _bytes } = admission;
    let waiting = Instant::now();
    let turn = tokio::select! {
        biased;
        () = shared.closing() => return Err(Refusal::closing()),
        () = client.closed() => return Err(Refusal::cancelled()),
        turn = tokio::time::timeout(shared.config.queue_timeout, shared.queue.turn()) => turn,
    };
    shared.metrics.waited(waiting.elapsed());
    let _turn = turn.map_err(|_| {
        let message = "the request waited as long as it may, and others were still at work";
        Refusal::later("queue_timeout", message, shared.queue.retry_after())
    })?;
    let mut reservation = None;
    let mut refused = None;
    let run = run.limits(|own| match key.reserve(shared.queue.max_runs(), &own) {
        Ok(held) => reservation.insert(held).limited(own),
        Err(refusal) => {
            refused = Some(refusal);
            own
        }
    });
    if let Some(refusal) = refused {
        return Err(refusal);
    }

    let began = Instant::now();
    let unwanted = async {
        tokio::select! {
            () = client.closed() => {}
            () = shared.ending() => {}
        }
    };
    let ended = run.until(unwanted, None).await;
    let (time, usage) = (began.elapsed(), used(&ended));
    shared.queue.took(time);
    if let Some(reservation) = reservation {
        reservation.settle(today(), &usage);
    }
    if shared.keys.keeps_usage() {
        let shared = shared.clone();
        tokio::task::spawn_blocking(move || shared.keys.save()).await.ok();
    }
    shared.metrics.ended(key.name(), &outcome(&ended), time, &usage);
    match ended {
        Ok(prediction) => Ok(Answer::of(&prediction, stop)),
        Err(error) if error.kind() == ErrorKind::Cancelled && shared.is_closing() => Err(Refusal::closing()),
        Err(error) if error.kind() == ErrorKind::Cancelled => Err(Refusal::cancelled()),
        Err(error) => Err(Refusal::failed_run(&error)),
    }
}

/// What the run used, also where it failed.
fn used(ended: &RunResult<Prediction>) -> Usage {
    match ended {
        Ok(prediction) => *prediction.usage(),
        Err(error) => {
            let usage = error.trajectory().and_then(|trajectory| trajectory.usage().copied());
            usage.unwrap_or_else(Usage::nothing)
        }
    }
}

/// How the run ended, for figures: few words, whatever happens.
fn outcome(ended: &RunResult<Prediction>) -> String {
    match ended {
        Ok(prediction) => prediction.status().to_string(),
        Err(error) if error.kind() == ErrorKind::Cancelled => "cancelled".to_owned(),
        Err(error) => format!("failed_by_{:?}", error.blame()).to_lowercase(),
    }
}
