//! Reads a reply from genai's events, within its time and its size.

use abyme_core::{Delta, Error, ErrorKind, FinishReason, Result};
use abyme_model_http::{Allowance, Exchange};
use futures_util::{Stream, StreamExt, stream};
use genai::chat::{ChatStream, ChatStreamEvent, StreamEnd};
use tokio::time::timeout_at;
use tracing::{instrument::WithSubscriber, subscriber::NoSubscriber};

use crate::{failure, reply::Reply};

/// A reply that is being read.
pub(crate) struct Reading {
    stream: ChatStream,
    exchange: Exchange,
    host: String,
    reply: Reply,
    allowed: Allowance,
    most: usize,
    /// Whether there was an event.
    began: bool,
    is_over: bool,
}

impl Reading {
    /// The reply in `stream`, of which no more than `most` bytes are read.
    pub(crate) fn new(
        stream: ChatStream,
        exchange: Exchange,
        host: &str,
        allowed: Allowance,
        most: usize,
    ) -> Self {
        let (host, reply) = (host.to_owned(), Reply::default());
        Self { stream, exchange, host, reply, allowed, most, began: false, is_over: false }
    }

    /// Its pieces.
    pub(crate) fn deltas(self) -> impl Stream<Item = Result<Delta>> + Send {
        stream::unfold(self, async |mut reading| {
            if reading.is_over {
                return None;
            }
            let next = reading.next().await;
            reading.is_over = !matches!(next, Ok(Delta::Text(_) | Delta::Reasoning(_)));
            Some((next, reading))
        })
    }

    async fn next(&mut self) -> Result<Delta> {
        loop {
            if self.reply.bytes() > self.most {
                let cut = self.reply.response(&StreamEnd::default());
                if cut.text.is_empty() {
                    return Err(self.exchange.too_large());
                }
                return Ok(Delta::Done(cut.finish_reason(FinishReason::Length)));
            }
            // genai writes what providers answer into the log, where a key could be.
            let next = self.stream.next().with_subscriber(NoSubscriber::new());
            let host = &self.host;
            let Ok(next) = timeout_at(self.allowed.deadline(), next).await else {
                return Err(late(host, self.allowed));
            };
            match next {
                None if !self.began => {
                    let message = format!("the answer of {host} is no stream of events");
                    return Err(Error::new(ErrorKind::MalformedReply, message));
                }
                None => {
                    let message = format!("the answer of {host} ended before the reply did");
                    return Err(Error::new(ErrorKind::Connection, message));
                }
                // What is no text from its beginning is compressed, which was not asked for. It would come so
                // again.
                Some(Err(failed)) if !self.began && failure::is_no_text(&failed) => {
                    return Err(failure::error(failed, &self.exchange, host).permanent());
                }
                Some(Err(failed)) => return Err(failure::error(failed, &self.exchange, host)),
                Some(Ok(event)) => {
                    self.began |= !matches!(event, ChatStreamEvent::Start);
                    if let Some(delta) = self.reply.take(event) {
                        return Ok(delta);
                    }
                }
            }
        }
    }
}

/// The error of a call that took too long.
pub(crate) fn late(host: &str, allowed: Allowance) -> Error {
    let message = format!("{host} was not done within {} s (total timeout)", allowed.total().as_secs_f64());
    Error::new(ErrorKind::ModelTimeout, message)
}
