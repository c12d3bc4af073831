//! A streamed answer, as the pieces of a reply.

use std::{
    collections::VecDeque,
    time::{Duration, SystemTime},
};

use abyme_core::{Delta, Error, ErrorKind, FinishReason, Response, Result};
use bytes::Bytes;
use futures_util::{Stream, stream};
use serde_json::Value;

use crate::{
    answer::Unusable,
    events::{self, Event, EventParser},
    failure::Exchange,
    rate_limits,
    transport::{Head, IncomingReply, Piece},
};

/// How a provider's answer becomes a reply, in events or whole. One reader reads one answer.
pub trait ReadReply: Send {
    /// Takes the next event, and adds to `deltas` what it says: texts, reasoning, usage. The texts together
    /// are those of [`response`](Self::response).
    ///
    /// # Errors
    /// If the event is no part of a reply, or says that something failed.
    fn read(&mut self, event: &Event, deltas: &mut VecDeque<Delta>) -> Result<Progress, Unusable>;

    /// The reply, as far as it came.
    ///
    /// # Errors
    /// If it is a refusal, or no reply.
    fn response(&mut self) -> Result<Response, Unusable>;

    /// The reply in an answer that came whole, in place of any events.
    ///
    /// # Errors
    /// If it is a refusal, a failure, or no reply.
    fn whole(&mut self, answer: &Value) -> Result<Response, Unusable>;
}

/// How far a reply is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is more to come.
    Open,
    /// The reply is whole. What it used may follow, and what fails from here on does not matter.
    Finished,
    /// Nothing follows.
    Done,
}

impl<R: ReadReply + ?Sized> ReadReply for Box<R> {
    fn read(&mut self, event: &Event, deltas: &mut VecDeque<Delta>) -> Result<Progress, Unusable> {
        (**self).read(event, deltas)
    }

    fn response(&mut self) -> Result<Response, Unusable> {
        (**self).response()
    }

    fn whole(&mut self, answer: &Value) -> Result<Response, Unusable> {
        (**self).whole(answer)
    }
}

/// The reply in the events of a whole body, whatever its type says; `None` if the body is no stream of
/// events.
pub fn reply_in(body: &str, reader: &mut dyn ReadReply) -> Option<Result<Response, Unusable>> {
    let events = events::events(body);
    let (mut deltas, mut progress) = (VecDeque::new(), Progress::Open);
    for event in &events {
        match reader.read(event, &mut deltas) {
            Ok(Progress::Done) => return Some(reader.response()),
            Ok(Progress::Finished) => progress = Progress::Finished,
            Ok(Progress::Open) => {}
            Err(_) if progress == Progress::Finished => break,
            Err(unusable) => return Some(Err(unusable)),
        }
    }
    (!events.is_empty()).then(|| match progress {
        Progress::Open => Err(Unusable::malformed("its stream of events ends before the reply does")),
        _ => reader.response(),
    })
}

/// The longest wait for what may follow a reply that is finished.
const AFTERWARDS_TIMEOUT: Duration = Duration::from_secs(5);

/// The pieces of a reply, from the events of an answer. Dropping it closes the connection.
///
/// An answer larger than the most that is read is a reply that the length limit cut, or an error if no text
/// came until then. One that ends before its reply does is an error of kind
/// [`Connection`](ErrorKind::Connection).
pub fn deltas<R: ReadReply>(
    incoming: IncomingReply,
    exchange: Exchange,
    reader: R,
) -> impl Stream<Item = Result<Delta>> + Send {
    let state = Deltas {
        head: incoming.head.clone(),
        incoming: Some(incoming),
        exchange,
        reader,
        parser: EventParser::default(),
        events: VecDeque::new(),
        ready: VecDeque::new(),
        progress: Progress::Open,
        began: false,
        told_limits: false,
    };
    stream::unfold(state, async |mut state| {
        let next = state.next().await?;
        Some((next, state))
    })
}

struct Deltas<R> {
    head: Head,
    /// The rest of the answer; `None` once the reply is over.
    incoming: Option<IncomingReply>,
    exchange: Exchange,
    reader: R,
    parser: EventParser,
    /// Events that are not read yet.
    events: VecDeque<Event>,
    /// Pieces that are not given out yet.
    ready: VecDeque<Delta>,
    progress: Progress,
    /// Whether there was an event.
    began: bool,
    /// Whether the limits in the head were given out.
    told_limits: bool,
}

/// What one step found.
enum Step {
    Event(Event),
    Bytes(Bytes),
    /// The reply is over, maybe for a reason that is not its own.
    Over(Option<FinishReason>),
}

impl<R: ReadReply> Deltas<R> {
    async fn next(&mut self) -> Option<Result<Delta>> {
        loop {
            if let Some(delta) = self.ready.pop_front() {
                return Some(Ok(delta));
            }
            let incoming = self.incoming.as_mut()?;
            let step = match self.events.pop_front() {
                Some(event) => Ok(Step::Event(event)),
                None => step(incoming, &mut self.parser, self.began, self.progress).await,
            };
            let outcome = match step {
                Ok(Step::Bytes(bytes)) => {
                    self.parser.push(&bytes, &mut self.events);
                    Ok(())
                }
                Ok(Step::Event(event)) => self.read(&event),
                Ok(Step::Over(reason)) => self.finish(reason),
                Err(error) => Err(self.exchange.with_head(error, &self.head)),
            };
            if let Err(error) = outcome {
                self.incoming = None;
                self.ready.clear();
                return Some(Err(error));
            }
        }
    }

    fn read(&mut self, event: &Event) -> Result<()> {
        self.began = true;
        let was_finished = self.progress != Progress::Open;
        let read = self.reader.read(event, &mut self.ready);
        if !self.told_limits && !self.ready.is_empty() {
            self.told_limits = true;
            let limits = rate_limits::in_headers(&self.head.headers, SystemTime::now());
            self.ready.extend(limits.map(|limits| Delta::RateLimits(Box::new(limits))));
        }
        match read {
            Ok(Progress::Done) => {
                self.incoming.take().into_iter().for_each(IncomingReply::release);
                self.finish(None)
            }
            // A reply that was finished stays so.
            Ok(Progress::Open) => Ok(()),
            Ok(Progress::Finished) => {
                self.progress = Progress::Finished;
                let incoming = self.incoming.iter_mut().filter(|_| !was_finished);
                incoming.for_each(|incoming| incoming.hurry(AFTERWARDS_TIMEOUT));
                Ok(())
            }
            Err(_) if was_finished => self.finish(None),
            Err(unusable) => self.exchange.finish(&self.head, Err(unusable), &event.data).map(drop),
        }
    }

    fn finish(&mut self, reason: Option<FinishReason>) -> Result<()> {
        self.incoming = None;
        let outcome = match (reason, self.reader.response()) {
            (None, outcome) => outcome,
            (Some(reason), Ok(response)) if !response.text.is_empty() => {
                self.exchange.warn_too_large();
                Ok(response.finish_reason(reason))
            }
            (Some(_), outcome) => {
                let usage = outcome.map_or_else(|none| none.into_parts().1, |empty| Some(empty.usage));
                let error = self.exchange.with_head(self.exchange.too_large(), &self.head);
                return Err(usage.into_iter().fold(error, Error::with_usage));
            }
        };
        let response = self.exchange.finish(&self.head, outcome, "")?;
        self.ready.push_back(Delta::Done(response));
        Ok(())
    }
}

/// What comes next of an answer, where no event is ready.
async fn step(
    incoming: &mut IncomingReply,
    parser: &mut EventParser,
    began: bool,
    progress: Progress,
) -> Result<Step> {
    let is_finished = progress != Progress::Open;
    Ok(match incoming.next().await {
        Ok(Piece::Bytes(bytes)) => Step::Bytes(bytes),
        Ok(Piece::TooMuch) => Step::Over(Some(FinishReason::Length).filter(|_| !is_finished)),
        Err(_) if is_finished => Step::Over(None),
        Err(error) => return Err(error),
        Ok(Piece::End) => match parser.end() {
            Some(event) => Step::Event(event),
            None if is_finished => Step::Over(None),
            None if began => return Err(incoming.cut_short()),
            None => {
                let message = format!("the answer of {} is a stream without events", incoming.host());
                return Err(Error::new(ErrorKind::MalformedReply, message));
            }
        },
    })
}
